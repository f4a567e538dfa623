package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/evidence"
	"github.com/spf13/cobra"
)

// packBeginning is how a zip file that is not empty begins.
const packBeginning = "PK\x03\x04"

// isPack reports whether a file is a zip file, by its name or how it begins: a
// pack whose first byte was changed is a pack all the same.
func isPack(name string) bool {
	if strings.EqualFold(filepath.Ext(name), ".zip") {
		return true
	}
	f, err := os.Open(name)
	if err != nil {
		return false // reading it says more
	}
	defer f.Close()
	begin := make([]byte, len(packBeginning))
	_, err = io.ReadFull(f, begin)
	return err == nil && string(begin) == packBeginning
}

// packReport is what verify prints about a pack as JSON.
type packReport struct {
	Proven bool `json:"proven"`
	*evidence.Result
	Manifest  *evidence.Manifest            `json:"manifest,omitempty"`
	Committed map[string][]client.Committed `json:"committed,omitempty"` // by leaf hash
}

// runPack verifies an evidence pack.
func (o *verifyOptions) runPack(cmd *cobra.Command, name string) error {
	if len(o.signers) > 0 {
		return usageErrorf("--signer is about one receipt; a pack's signatures are verified by the keys that the log registered")
	}
	policy, err := readFile(nil, o.policy, 1<<20)
	if err != nil {
		return err
	}
	var disclosures []client.Disclosure
	if o.disclosure != "" {
		if disclosures, err = readDisclosures(cmd.InOrStdin(), o.disclosure); err != nil {
			return err
		}
	}
	pack, err := openFile(name)
	if err != nil {
		return err
	}
	defer pack.Close()
	info, err := pack.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return usageErrorf("%s is not a regular file, and a pack is read more than once", name)
	}
	shown := newProgress(cmd.ErrOrStderr(), "verified")
	r, err := evidence.VerifyProgress(cmd.Context(), pack, info.Size(), policy, shown.add)
	shown.done()
	switch {
	case cmd.Context().Err() != nil:
		return err
	case err != nil:
		return usageErrorf("--policy %s: %w", o.policy, err)
	}
	if o.sha256 != "" && !strings.EqualFold(o.sha256, r.SHA256) {
		r.Problems = append(r.Problems, evidence.Problem{Place: "the pack", Detail: "has the SHA-256 " + r.SHA256 + ", and not " + o.sha256})
	}
	out := packReport{Proven: len(r.Problems) == 0, Result: r}
	var wrong error
	if out.Proven {
		out.Manifest = r.Manifest
		if out.Committed, wrong = r.CheckDisclosures(disclosures); wrong != nil {
			out.Proven = false
		}
	}
	if o.json {
		if err := printJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	}
	switch {
	case wrong != nil:
		return &exitError{code: exitIntegrity, err: fmt.Errorf("not proven: %w", wrong)}
	case !out.Proven && o.json:
		return &exitError{code: exitIntegrity, err: errors.New("not proven")}
	case !out.Proven:
		for _, p := range r.Problems {
			fmt.Fprintln(cmd.ErrOrStderr(), printable(p.String()))
		}
		return &exitError{code: exitIntegrity, err: fmt.Errorf("not proven: %d problems in %s", len(r.Problems), name)}
	case o.json:
		return nil
	}
	return out.print(cmd.OutOrStdout())
}

func (r *packReport) print(w io.Writer) error {
	m := r.Manifest
	p := &printer{w: w}
	p.line("proven", "every leaf, signature and file of a pack about %s", m.Query)
	p.line("sha256", "%s", r.SHA256)
	p.line("log", "%s, size %d, root %s", m.Origin, m.Head.Size, m.Head.Root)
	p.line("leaf 0", "%s", m.Genesis)
	for _, c := range r.Verified.Cosignatures {
		p.line("cosigned", "by %s", c.Witness)
	}
	if m.Previous != nil {
		p.line("extends", "size %d, root %s", m.Previous.Size, m.Previous.Root)
	}
	printCounts(p, m)
	p.line("signatures", "%d, by the keys that the log had registered", r.Signatures)
	for _, hash := range slices.Sorted(maps.Keys(r.Committed)) {
		p.line("leaf", "%s", hash)
		printCommitted(p, r.Committed[hash])
	}
	for _, c := range r.Claims {
		printClaim(p, c)
	}
	for _, n := range r.Notes {
		p.line("note", "%s", n)
	}
	return p.err
}
