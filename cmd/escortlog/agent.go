package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/escortlog/escortlog/client/outbox"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

type agentOptions struct {
	connection  connection
	outbox      string
	key         string
	source      string
	policy      string
	listen      string
	stdin       bool
	heartbeat   time.Duration
	period      time.Duration
	maxBytes    int64
	allowOpaque bool
	drain       time.Duration
}

// agentPatience is how long the agent's submitter waits for a log, or a proof,
// before the outbox takes the event back and tries again later.
const agentPatience = 20 * time.Second

func newAgentCommand() *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent --outbox DIR --log URL --key FILE --source URI --policy FILE (--listen 127.0.0.1:PORT | --stdin)",
		Short: "Keep the events of a source safe and deliver them, for programs in any language",
		Long: `Takes events from programs on this machine, numbers, chains and signs them, and
keeps them in DIR until the log has proven under the policy that it holds them.
Nothing that was acknowledged is lost, whatever happens to the agent, to the
machine or to the log. One directory is that of one source.

With --listen, on a loopback address only:
  POST /v1/events   {"type": "session.started", "subject": "session/s-1", "data": {…}}
                    and, where wanted, "id" (then a repeated request is one event),
                    "time" (RFC 3339; else now), "dataschema", "extensions".
                    Content-Type: application/json. 202 {"sequence": n, "id": "…"}
                    once the event is on disk; 422 for an event that no log takes;
                    503 with Retry-After while the outbox is full
  GET /v1/status    what waits, what was logged and refused, and what is wrong

With --stdin, the same objects, one a line. For each, in order, one line is
printed: {"sequence": n, "id": "…"} or {"line": n, "error": "…"}. A full outbox
makes the reading wait.

DIR/receipts keeps INDEX.leaf and INDEX.tlog-proof of everything logged, which
"escortlog verify" checks offline. An event that the log refuses is set aside in
DIR/refused with the reason, and source.gap tells the log which number is missing.

At the end of the input, or on SIGTERM or an interrupt, nothing more is taken, and
what waits is delivered for up to --drain. The exit code is 0 when all of it was,
1 when events were refused, 5 when some still wait; they go out when the agent
runs again.`,
		Example: `  escortlog agent --outbox /var/lib/gateway/outbox --log https://log.example.org --key gateway.key \
      --source urn:example:gateway --policy policy.txt --listen 127.0.0.1:7070 --heartbeat 1m --period 24h
  curl -H 'Content-Type: application/json' -d @event.json http://127.0.0.1:7070/v1/events`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.outbox, "outbox", "", "`directory` of the outbox; made where it is missing")
	f.StringVar(&o.key, "key", "", "private key `file` (PKCS #8 PEM) that is registered for the source")
	f.StringVar(&o.source, "source", "", "absolute `URI` of the source")
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file` that every receipt must satisfy")
	f.StringVar(&o.listen, "listen", "", "loopback `address` to serve on, such as 127.0.0.1:7070; port 0 takes a free one")
	f.BoolVar(&o.stdin, "stdin", false, "read events from standard input, one a line")
	f.DurationVar(&o.heartbeat, "heartbeat", 0, "send source.heartbeat this often, in whole seconds; 0 means never")
	f.DurationVar(&o.period, "period", 0, "close periods of this length with their totals, in whole minutes, such as 24h; 0 means never")
	f.Int64Var(&o.maxBytes, "max-bytes", 64<<20, "how many bytes may wait in the outbox")
	f.BoolVar(&o.allowOpaque, "allow-opaque", false, "take event types that are not known here, for a log that accepts them")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long to go on delivering at the end")
	config.CommandLineOnly(cmd, "stdin")
	return cmd
}

func (o *agentOptions) run(cmd *cobra.Command) error {
	listener, err := o.intake(cmd.Context())
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	box, err := o.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	before := box.Status()
	fmt.Fprintf(cmd.ErrOrStderr(), "source %s, key %s: %d events so far, %d waiting in %s\n",
		before.Source, before.KeyID, before.LastSequence, before.Pending, o.outbox)
	// Delivery goes on while the intake ends.
	delivery, stop := context.WithCancel(context.WithoutCancel(cmd.Context()))
	defer stop()
	intake, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	delivered := make(chan error, 1)
	go func() {
		err := box.Run(delivery)
		cancel() // an outbox that delivers nothing takes nothing
		delivered <- err
	}()
	broken := 0
	if o.stdin {
		broken, err = agentLines(intake, box, cmd.InOrStdin(), cmd.OutOrStdout())
	} else {
		err = o.serve(intake, box, listener, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	o.drainOutbox(box, delivery, cmd.ErrOrStderr())
	stop()
	err = errors.Join(err, <-delivered)
	after := box.Status()
	if err = errors.Join(err, box.Close()); err != nil {
		return withCode(codeOf(err), err)
	}
	return o.conclude(cmd.ErrOrStderr(), before, after, broken)
}

// intake checks how events are to come in, and takes the address.
func (o *agentOptions) intake(ctx context.Context) (net.Listener, error) {
	for _, f := range []struct{ name, value string }{{"outbox", o.outbox}, {"key", o.key}, {"source", o.source}, {"policy", o.policy}} {
		if f.value == "" {
			return nil, usageErrorf("--%s is needed", f.name)
		}
	}
	if o.stdin == (o.listen != "") {
		return nil, usageErrorf("give one of --listen and --stdin")
	}
	if o.drain < 0 {
		return nil, usageErrorf("--drain %v is negative", o.drain)
	}
	if o.stdin {
		return nil, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", o.listen)
	if err != nil {
		return nil, usageErrorf("--listen: %w", err)
	}
	if !addr.IP.IsLoopback() {
		return nil, usageErrorf("--listen %s is not a loopback address: whoever reaches the agent signs with its key, so it serves this machine only; want 127.0.0.1:PORT or [::1]:PORT", o.listen)
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr.String())
}

// open opens the outbox.
func (o *agentOptions) open(errs io.Writer) (*outbox.Outbox, error) {
	to, err := newSubmitter(&o.connection, o.policy, agentPatience, errs)
	if err != nil {
		return nil, err
	}
	key, err := readPrivateKey(o.key)
	if err != nil {
		return nil, err
	}
	to.Logger = nil // the outbox tells of attempts that failed, once each
	box, err := outbox.Open(outbox.Config{
		Dir: o.outbox, Source: o.source, Key: key, Log: to, MaxBytes: o.maxBytes, AllowOpaque: o.allowOpaque,
		Heartbeat: o.heartbeat, Period: o.period, Logger: slog.New(slog.NewTextHandler(errs, nil)),
	})
	switch {
	case errors.Is(err, outbox.ErrCorrupt):
		return nil, &exitError{code: exitIntegrity, err: err}
	case err != nil:
		return nil, usageErrorf("--outbox %s: %w", o.outbox, err)
	}
	return box, nil
}

// drainOutbox delivers what waits, as long as --drain allows. How that ends is
// in the outbox's status.
func (o *agentOptions) drainOutbox(box *outbox.Outbox, delivery context.Context, errs io.Writer) {
	if n := box.Status().Pending; n > 0 {
		fmt.Fprintf(errs, "nothing more is taken; delivering %d events for up to %v\n", n, o.drain)
	}
	ctx, cancel := context.WithTimeout(delivery, o.drain)
	defer cancel()
	if err := box.Drain(ctx); err != nil {
		fmt.Fprintln(errs, err)
	}
}

// conclude says what this run came to.
func (o *agentOptions) conclude(errs io.Writer, before, after outbox.Status, broken int) error {
	refused := after.Refused - before.Refused
	fmt.Fprintf(errs, "%d events logged, %d refused, %d waiting\n", after.Logged-before.Logged, refused, after.Pending)
	if after.Pending > 0 {
		return &exitError{code: exitUnavailable, err: fmt.Errorf("%d events are safe in %s and are delivered when the agent runs again; %s", after.Pending, o.outbox, after.Trouble)}
	}
	if refused > 0 {
		return &exitError{code: exitFindings, err: fmt.Errorf("%d events were refused; see %s/refused", refused, o.outbox)}
	}
	if broken > 0 {
		return &exitError{code: exitFindings, err: fmt.Errorf("%d lines were no events that a log takes", broken)}
	}
	return nil
}
