package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newFsckCommand() *cobra.Command {
	var data dataDir
	cmd := &cobra.Command{
		Use:   "fsck --data DIR",
		Short: "Prove everything that is stored",
		Long: `Reads everything that the log stores: hashes every leaf, rebuilds the tree, and
compares every tile, the root, the identities, the authority events, the
published checkpoint and the guard with it. Names everything that is damaged and
exits with 2 if anything is. The log must not be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			signers, err := data.signers()
			if err != nil {
				return err
			}
			origin := signers[0].Verifier().Name()
			o, err := data.open(origin)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.close()) }()
			keys := make([]*checkpoint.Verifier, len(signers))
			for i, s := range signers {
				keys[i] = s.Verifier()
			}
			report, err := log.Check(cmd.Context(), log.CheckConfig{
				Store: o.store, Guard: o.guard, Origin: origin, Keys: keys,
				Identify: identify, Progress: progress(os.Stderr),
			})
			if report != nil {
				printReport(cmd.OutOrStdout(), report)
			}
			return err
		},
	}
	data.addFlags(cmd)
	return cmd
}

// identify tells the check under which identity a leaf must be stored.
func identify(leaf []byte) (identity [32]byte, authority bool, err error) {
	e, err := entry.Parse(leaf)
	if err != nil {
		return identity, false, err
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		return identity, false, err
	}
	return entry.Identity(ev.Source, ev.ID), event.IsAuthority(ev.Type), nil
}

// progress writes a line that overwrites itself when f is a terminal.
func progress(f *os.File) func(leaves, of int64) {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(leaves, of int64) {
		end := ""
		if leaves == of {
			end = "\n"
		}
		fmt.Fprintf(f, "\r%d of %d leaves%s", leaves, of, end)
	}
}

func printReport(w io.Writer, r *log.Report) {
	for _, p := range r.Problems {
		fmt.Fprintln(w, "PROBLEM", p)
	}
	fmt.Fprintf(w, "size       %d\n", r.Head.Size)
	fmt.Fprintf(w, "root       %v\n", r.Head.Root)
	fmt.Fprintf(w, "leaves     %d hashed, %d bytes\n", r.Leaves, r.EntryBytes)
	fmt.Fprintf(w, "tiles      %d compared\n", r.Tiles)
	fmt.Fprintf(w, "bundles    %d sealed\n", r.Sealed)
	fmt.Fprintf(w, "authority  %d events\n", r.Authority)
	fmt.Fprintf(w, "published  %d\n", r.PublishedSize)
	fmt.Fprintf(w, "guard      %d\n", r.GuardSize)
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "ok")
	}
}
