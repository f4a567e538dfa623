package main

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

type submitOptions struct {
	connection connection
	key        string
	policy     string
	receipts   string
	timeout    time.Duration
	json       bool
}

func newSubmitCommand() *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "submit --log URL [FILE...|-]",
		Short: "Sign events and submit them to a log",
		Long: `Reads events from the files, or from standard input, and submits them in order.
An input holds CloudEvents or DSSE envelopes, one JSON object a line, or one JSON
array of them. With --key, each event is signed, over exactly the bytes given.
Without it, envelopes are sent as they are, and plain events unsigned, which only
some logs accept.

For every logged event one line is printed: index, leaf hash, id. It is printed
after the receipt was verified: the leaf is rebuilt from your own bytes, and the
proof leads from its hash to the checkpoint. With --policy, that checkpoint must
also be signed by the log and cosigned by the policy's quorum; without a policy
nobody vouches for it. With --receipts, DIR keeps INDEX.tlog-proof and INDEX.leaf
of each, which "escortlog verify" checks offline, for ever.

A refused event is reported on standard error with its place in the input, the
others go on, and the exit code is 1. A log that is busy or away is asked again
for --timeout. Running the same input again is always safe: what was logged is
found, not logged twice.`,
		Example: `  escortlog submit --log https://log.example.org --key gateway.key --policy policy.txt events.jsonl
  escortlog import --from cloudtrail --source urn:example:aws *.json.gz |
      escortlog submit --log https://log.example.org --key importer.key --receipts receipts -`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "private key `file` (PKCS #8 PEM) to sign events with")
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file`: wait until it is met")
	f.StringVar(&o.receipts, "receipts", "", "`directory` to keep INDEX.tlog-proof and INDEX.leaf in")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for a busy log, and for a proof")
	f.BoolVar(&o.json, "json", false, "print one JSON object for each event, logged or refused")
	return cmd
}

func (o *submitOptions) run(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		args = []string{"-"}
	}
	s := &submission{
		out:      cmd.OutOrStdout(),
		errs:     cmd.ErrOrStderr(),
		receipts: o.receipts,
		json:     o.json,
		progress: newProgress(cmd.ErrOrStderr(), "submitted"),
	}
	var err error
	if s.to, err = newSubmitter(&o.connection, o.policy, o.timeout, cmd.ErrOrStderr()); err != nil {
		return err
	}
	if o.key != "" {
		if s.key, err = readPrivateKey(o.key); err != nil {
			return err
		}
		public, err := event.NewPublicKey(s.key.Public())
		if err != nil {
			return err
		}
		s.to.Keys = []*event.PublicKey{public}
	}
	if o.receipts != "" {
		if err := os.MkdirAll(o.receipts, 0o755); err != nil {
			return usageErrorf("--receipts: %w", err)
		}
	}
	defer s.progress.done()
	return s.run(cmd.Context(), cmd.InOrStdin(), args)
}

// newSubmitter makes the client's submitter from the flags. The log is the one at
// --log, else the one URL in the policy's log lines.
func newSubmitter(c *connection, policyFile string, timeout time.Duration, errs io.Writer) (*client.Submitter, error) {
	policy, err := readPolicy(policyFile)
	if err != nil {
		return nil, err
	}
	if c.log == "" && policy != nil {
		if c.log, err = logOf(policy); err != nil {
			return nil, err
		}
	}
	url, err := c.baseURL()
	if err != nil {
		return nil, err
	}
	httpClient, err := c.client()
	if err != nil {
		return nil, err
	}
	return &client.Submitter{
		URL: url, HTTP: httpClient, Policy: policy, Wait: timeout, GiveUp: timeout,
		Logger: slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, nil
}

// submission is one run of submit.
type submission struct {
	to       *client.Submitter
	key      crypto.Signer // nil: nothing is signed here
	receipts string
	json     bool
	out      io.Writer
	errs     io.Writer
	progress *progress
	refused  int
}

// prepared is an item on its way, or refused before it was sent.
type prepared struct {
	item
	envelope *entry.Envelope
	source   string
	id       string
}

func (s *submission) run(ctx context.Context, stdin io.Reader, names []string) error {
	// Reading goes on while a batch is on its way; a batch is what has been read
	// meanwhile. So an input that comes slowly, on a pipe, is not kept waiting.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	items := make(chan prepared, client.MaxBatchEvents)
	read := make(chan error, 1)
	go func() {
		defer close(items)
		read <- readInputs(reading, stdin, names, func(it item) error {
			select {
			case items <- s.prepare(it):
				return nil
			case <-reading.Done():
				return reading.Err()
			}
		})
	}()
	for first := range items {
		if err := s.send(ctx, collect(first, items)); err != nil {
			// The reader is left behind: it may wait for standard input, and the
			// process ends.
			return &exitError{code: submitCode(err), err: err}
		}
	}
	// What was read before an input broke off has been sent.
	if err := <-read; err != nil {
		return &exitError{code: submitCode(err), err: err}
	}
	if s.refused > 0 {
		return &exitError{code: exitFindings, err: fmt.Errorf("%d refused", s.refused)}
	}
	return nil
}

// collect returns first and what else has been read, up to a batch.
func collect(first prepared, items <-chan prepared) []prepared {
	batch := []prepared{first}
	size := len(first.raw)
	for len(batch) < client.MaxBatchEvents && size < client.MaxBatchBytes/2 {
		select {
		case p, ok := <-items:
			if !ok {
				return batch
			}
			batch = append(batch, p)
			size += len(p.raw)
		default:
			return batch
		}
	}
	return batch
}

// prepare makes the envelope of an item. What is certainly refused is refused
// here, so that one broken item does not break the batch it stands in.
func (s *submission) prepare(it item) prepared {
	p := prepared{item: it}
	if p.err != nil {
		return p
	}
	if isEnvelope(it.raw) {
		if p.envelope, p.err = entry.ParseEnvelope(it.raw); p.err == nil && s.key != nil {
			p.err = errors.New("this is an envelope, signed already: submit it without --key, or add a signature with \"escortlog cosign\"")
		}
		if p.err == nil && len(p.envelope.Signatures) == 0 {
			p.err = errors.New("this envelope bears no signature: sign it with \"escortlog cosign\" or \"escortlog pae\"")
		}
	} else {
		p.envelope = &entry.Envelope{PayloadType: entry.PayloadType, Payload: it.raw}
	}
	if p.err != nil {
		return p
	}
	e, err := event.Parse(p.envelope.Payload)
	if err != nil {
		p.err = err
		return p
	}
	p.source, p.id = e.Source, e.ID
	if s.key != nil {
		sig, err := event.Sign(s.key, p.envelope.PayloadType, p.envelope.Payload)
		p.envelope.Signatures, p.err = []entry.Signature{sig}, err
	}
	return p
}

// isEnvelope tells an envelope from an event by the members at its top.
func isEnvelope(raw []byte) bool {
	names := topNames(raw)
	return names["payload"] && !names["specversion"]
}

func topNames(raw []byte) map[string]bool {
	names := make(map[string]bool)
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != jsontext.KindBeginObject {
		return names
	}
	for dec.PeekKind() == jsontext.KindString {
		t, err := dec.ReadToken()
		if err != nil {
			break
		}
		names[t.String()] = true
		if err := dec.SkipValue(); err != nil {
			break
		}
	}
	return names
}

// send submits a batch and reports every item in the order of the input.
func (s *submission) send(ctx context.Context, batch []prepared) error {
	var envelopes []*entry.Envelope
	for _, p := range batch {
		if p.err == nil {
			envelopes = append(envelopes, p.envelope)
		}
	}
	results, failed := s.to.Submit(ctx, envelopes...)
	for _, p := range batch {
		result := client.Result{Err: p.err}
		if p.err == nil {
			result, results = results[0], results[1:]
		}
		if err := s.report(p, result); err != nil {
			return err
		}
	}
	return failed
}
