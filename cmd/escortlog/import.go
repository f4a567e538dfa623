package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client/importer"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/spf13/cobra"
)

type importOptions struct {
	from      string
	source    string
	recorded  string
	sequence  int64
	prevHash  string
	spill     string
	keepGoing bool
}

func newImportCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import --from SYSTEM --source URI FILE...",
		Short: "Turn records of another system into events",
		Long: `Reads records and writes one event for each to standard output, one a line, ready
for "escortlog submit". The record stays in its event as it was written; where it
does not fit, its SHA-256 and size do, and --spill keeps its text. Gzip is read as
it is. The same records give the same events, byte for byte, however often they
are imported, so submitting them again does no harm.

Systems:
  cloudtrail  AWS CloudTrail: {"Records":[…]}, a JSON array, or a record a line.
              Sessions of the Session Manager become session.started, .resumed and
              .ended
  kubernetes  audit events (audit.k8s.io/v1), one a line, or an EventList. What runs or
              attaches in a pod becomes session.started and .ended
  ocsf        OCSF 1.x events, one a line, or a JSON array. SSH activity that names its
              session becomes session.started and .ended
  teleport    audit events, one a line, or a JSON array. Sessions on servers, clusters,
              databases, desktops and applications become session.started and .ended

All else becomes record.observed: register the source without roles, or with the
roles importer and gateway. The record in the event is there for everybody who may
read the log, with the commands, names and addresses that stand in it.

time and recordedtime are the record's own time, unless --recorded tells when the
records were collected; keep that time for every import of the same records.
--sequence numbers and chains the events, in the order of the input; what the next
import goes on with is printed at the end.

A malformed record ends the import, or with --keep-going is reported and counted;
nothing is dropped in silence. Then the exit code is 1.`,
		Example: `  escortlog import --from cloudtrail --source urn:example:aws:123456789012 *.json.gz > events.jsonl
  escortlog import --from kubernetes --source urn:example:cluster:prod audit.log > events.jsonl
  escortlog import --from cloudtrail --source urn:example:aws --spill originals trail.json |
      escortlog submit --log https://log.example.org --key importer.key -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "`system` the records are from: "+strings.Join(importer.Systems(), ", "))
	f.StringVar(&o.source, "source", "", "absolute `URI` that the events name as their source")
	f.StringVar(&o.recorded, "recorded", "", "RFC 3339 `time` when the records were collected")
	f.Int64Var(&o.sequence, "sequence", 0, "`number` of the first event; 0 means events are not numbered")
	f.StringVar(&o.prevHash, "prevhash", "", "SHA-256 in `hex` of the event before --sequence, where that is not 1")
	f.StringVar(&o.spill, "spill", "", "`directory` for the text of records that do not fit into an event")
	f.BoolVar(&o.keepGoing, "keep-going", false, "report malformed records and go on")
	config.CommandLineOnly(cmd, "from", "recorded", "sequence", "prevhash")
	for _, name := range []string{"from", "source"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (o *importOptions) run(cmd *cobra.Command, names []string) error {
	options := importer.Options{Source: o.source, Sequence: o.sequence, PrevHash: o.prevHash, Spill: o.spill}
	if o.recorded != "" {
		at, err := time.Parse(time.RFC3339, o.recorded)
		if err != nil {
			return usageErrorf("--recorded %q: want an RFC 3339 time such as 2026-03-01T08:00:00Z", o.recorded)
		}
		options.Recorded = at
	}
	errs := cmd.ErrOrStderr()
	shown := newProgress(errs, "imported")
	defer shown.done()
	if o.keepGoing {
		options.Malformed = func(e *importer.RecordError) error {
			shown.hide()
			_, err := fmt.Fprintln(errs, e)
			return err
		}
	}
	if o.spill != "" {
		if err := os.MkdirAll(o.spill, 0o755); err != nil {
			return usageErrorf("--spill: %w", err)
		}
	}
	im, err := importer.New(o.from, options)
	if err != nil {
		return usageErrorf("%w", err)
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	for _, name := range names {
		if err = o.file(cmd.Context(), im, cmd.InOrStdin(), name, out, shown); err != nil {
			break
		}
	}
	// What was made is good, and is written before anything is said.
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	shown.hide()
	return o.finish(errs, im, err)
}

// file imports one file.
func (o *importOptions) file(ctx context.Context, im *importer.Importer, stdin io.Reader, name string, out io.Writer, shown *progress) error {
	r, label := stdin, "standard input"
	if name != "-" {
		f, err := openFile(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r, label = f, name
	}
	return im.Import(ctx, label, r, func(e importer.Event) error {
		shown.add(1)
		if _, err := out.Write(append(e.Payload, '\n')); err != nil {
			return fmt.Errorf("writing events: %w", err)
		}
		return nil
	})
}

// finish tells on standard error what was done.
func (o *importOptions) finish(errs io.Writer, im *importer.Importer, err error) error {
	counts := im.Counts()
	fmt.Fprintf(errs, "%d events, %d malformed records\n", counts.Events, counts.Malformed)
	for _, typ := range slices.Sorted(maps.Keys(counts.Types)) {
		fmt.Fprintf(errs, "  %7d %s\n", counts.Types[typ], typ)
	}
	if counts.Apart > 0 {
		kept := "keep the input, which alone has them, or use --spill"
		if o.spill != "" {
			kept = "their text is in " + o.spill
		}
		fmt.Fprintf(errs, "%d of them name a record that does not fit into an event: %s\n", counts.Apart, kept)
	}
	if sequence, prevHash := im.Next(); sequence > 1 {
		fmt.Fprintf(errs, "the next import of this source goes on with --sequence %d --prevhash %s\n", sequence, prevHash)
	}
	var malformed *importer.RecordError
	switch {
	case errors.As(err, &malformed):
		return &exitError{code: exitFindings, err: err}
	case err != nil:
		return err
	case counts.Malformed > 0:
		return &exitError{code: exitFindings, err: fmt.Errorf("%d malformed", counts.Malformed)}
	}
	return nil
}
