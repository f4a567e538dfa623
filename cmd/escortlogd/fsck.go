package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newFsckCommand() *cobra.Command {
	var (
		data   dataDir
		events bool
	)
	cmd := &cobra.Command{
		Use:   "fsck --data DIR",
		Short: "Prove everything that is stored",
		Long: `Reads everything that the log stores: hashes every leaf, rebuilds the tree, and
compares every tile, the root, the identities, the authority events, the
published checkpoint and the guard with it. Names everything that is damaged and
exits with 2 if anything is. The log must not be running.

Of an event it reads source, id and type, which its identity needs; with --events
all of it is parsed as the door parsed it, which takes more than three times as long.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			signers, err := data.signers()
			if err != nil {
				return err
			}
			origin := signers[0].Verifier().Name()
			o, err := data.open(origin, nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.close()) }()
			check := log.CheckConfig{
				Store: o.store, Guard: o.guard, Origin: origin, Keys: verifiers(signers),
				Identify: event.Identify, Progress: progress(os.Stderr),
			}
			if events {
				check.Identify = identifyParsed
			}
			report, err := log.Check(cmd.Context(), check)
			if report != nil {
				err = errors.Join(err, printReport(cmd.OutOrStdout(), report))
			}
			return err
		},
	}
	data.addFlags(cmd)
	cmd.Flags().BoolVar(&events, "events", false, "parse every event, too")
	config.CommandLineOnly(cmd, "events")
	return cmd
}

// identifyParsed is event.Identify for those who want to know of each event that it
// is one, too.
func identifyParsed(payload []byte) (source, id []byte, authority bool, err error) {
	ev, err := event.Parse(payload)
	if err != nil {
		return nil, nil, false, err
	}
	return []byte(ev.Source), []byte(ev.ID), event.IsAuthority(ev.Type), nil
}

// progress writes a line that overwrites itself, a few times a second, when f is
// a terminal.
func progress(f *os.File) func(leaves, of int64) {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return progressTo(f, time.Now)
}

func progressTo(w io.Writer, now func() time.Time) func(leaves, of int64) {
	start := now()
	last, from := start, int64(-1)
	return func(leaves, of int64) {
		if from < 0 {
			from = leaves // it goes on from an earlier run
		}
		at, end := now(), ""
		switch {
		case leaves == of:
			end = "\n"
		case at.Sub(last) < 200*time.Millisecond:
			return
		}
		last = at
		rate := float64(leaves-from) / max(at.Sub(start).Seconds(), 1e-3)
		left := ""
		if rate > 0 && leaves < of {
			left = fmt.Sprintf(", %v left", time.Duration(float64(of-leaves)/rate*float64(time.Second)).Round(time.Second))
		}
		fmt.Fprintf(w, "\r\x1b[K%d of %d leaves, %.0f a second%s%s", leaves, of, rate, left, end)
	}
}

func printReport(to io.Writer, r *log.Report) error {
	w := new(bytes.Buffer)
	for _, p := range r.Problems {
		fmt.Fprintln(w, "PROBLEM", p)
	}
	fmt.Fprintf(w, "size       %d\n", r.Head.Size)
	fmt.Fprintf(w, "root       %v\n", r.Head.Root)
	fmt.Fprintf(w, "leaves     %d hashed, %d bytes\n", r.Leaves, r.EntryBytes)
	fmt.Fprintf(w, "tiles      %d compared\n", r.Tiles)
	fmt.Fprintf(w, "bundles    %d sealed\n", r.Sealed)
	fmt.Fprintf(w, "authority  %d events\n", r.Authority)
	if r.PublishedSize == 0 {
		// One that took no witnesses is signed anew at every start, and never stored.
		fmt.Fprintln(w, "published  no checkpoint is kept: one that bears no cosignatures of witnesses is made again at each start")
	} else {
		fmt.Fprintf(w, "published  %d\n", r.PublishedSize)
	}
	fmt.Fprintf(w, "guard      %d\n", r.GuardSize)
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "ok")
	}
	_, err := to.Write(w.Bytes())
	return err
}
