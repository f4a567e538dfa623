package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
)

// report prints the outcome of one item and keeps its receipt.
func (s *submission) report(p prepared, result client.Result) error {
	s.progress.add(1)
	if result.Err != nil {
		return s.reportFailure(p, result.Err)
	}
	r := result.Receipt
	if s.receipts != "" {
		if err := s.keepReceipt(r); err != nil {
			return fmt.Errorf("keeping the receipt of index %d: %w", r.Index, err)
		}
	}
	s.progress.hide()
	if s.json {
		status := "logged"
		if r.Existing {
			status = "existing"
		}
		return printJSON(s.out, submitLine{Input: p.file, Line: p.line, Status: status, Index: &r.Index, LeafHash: r.LeafHash.String(), Time: r.Time, ID: p.id, Source: p.source})
	}
	_, err := fmt.Fprintf(s.out, "%d %s %s\n", r.Index, r.LeafHash, p.id)
	return err
}

// keepReceipt writes the leaf and its proof. A newer proof of the same leaf
// replaces the older one; a receipt of another log is never lost to this one's.
func (s *submission) keepReceipt(r *client.Receipt) error {
	base := filepath.Join(s.receipts, strconv.FormatInt(r.Index, 10))
	old, err := os.ReadFile(base + ".leaf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// What is no leaf was cut off when a machine went down.
	if _, broken := entry.Parse(old); err == nil && broken == nil && !bytes.Equal(old, r.Leaf) {
		return usageErrorf("%s.leaf is a leaf of another log and is not overwritten; name another directory and submit again, nothing is logged twice", base)
	}
	// The proof last: where there is a proof, there is its leaf.
	return errors.Join(replaceFileSoon(base+".leaf", r.Leaf, 0o644), replaceFileSoon(base+".tlog-proof", r.Proof.Marshal(), 0o644))
}

func (s *submission) reportFailure(p prepared, err error) error {
	var refusal *client.RefusedError
	var problem *client.Problem
	refused := p.err != nil
	if errors.As(err, &refusal) {
		problem, refused = &refusal.Problem, true
		err = errors.New(problem.String()) // that the log refused it is said once
	}
	line := submitLine{Input: p.file, Line: p.line, Status: "undecided", ID: p.id, Source: p.source, Error: err.Error(), Problem: problem}
	if refused {
		line.Status = "refused"
		s.refused++
	}
	s.progress.hide()
	if s.json {
		if err := printJSON(s.out, line); err != nil {
			return err
		}
	}
	if refused {
		_, err = fmt.Fprintf(s.errs, "%s: refused: %v\n", p.place, err)
		return err
	}
	if _, err := fmt.Fprintf(s.errs, "%s: no receipt: %v\n", p.place, err); err != nil {
		return err
	}
	var lied *client.ReceiptError
	if errors.As(err, &lied) {
		return s.keepEvidence(p, lied)
	}
	return nil
}

// falseReceipt is the evidence against a log whose receipt does not hold: what
// it was given and what it answered.
type falseReceipt struct {
	Log      string          `json:"log"`
	Claim    int64           `json:"claim"` // the index the log claims; -1: none
	Wrong    string          `json:"wrong"`
	Envelope json.RawMessage `json:"envelope"`
	Answer   []byte          `json:"answer"` // as received
	Time     time.Time       `json:"time"`   // of this machine
}

// keepEvidence writes a false receipt beside the good ones, or into the working
// directory.
func (s *submission) keepEvidence(p prepared, lied *client.ReceiptError) error {
	text, err := json.MarshalIndent(falseReceipt{
		Log: s.to.URL, Claim: lied.Index, Wrong: lied.Err.Error(), Envelope: p.envelope.Marshal(), Answer: lied.Evidence, Time: time.Now().UTC(),
	}, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(s.receipts, "false-receipt-"+p.id+".json")
	if err := replaceFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("keeping the evidence: %w", err)
	}
	_, err = fmt.Fprintf(s.errs, "%s: evidence written to %s\n", p.place, name)
	return err
}

// submitLine is one line of --json.
type submitLine struct {
	Input    string          `json:"input"`
	Line     int             `json:"line"`   // in the input, from 1; of an array, the element
	Status   string          `json:"status"` // logged, existing, refused or undecided
	Index    *int64          `json:"index,omitempty"`
	LeafHash string          `json:"leafHash,omitempty"` // standard base64
	Time     int64           `json:"time,omitempty"`     // ms since the epoch, when the log took it
	ID       string          `json:"id,omitempty"`
	Source   string          `json:"source,omitempty"`
	Error    string          `json:"error,omitempty"`
	Problem  *client.Problem `json:"problem,omitempty"`
}

// submitCode is the exit code of a submission that broke off.
func submitCode(err error) int {
	var coded *exitError
	var lied *client.ReceiptError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &lied), errors.Is(err, checkpoint.ErrQuorum):
		return exitIntegrity
	case errors.Is(err, client.ErrUnavailable):
		return exitUnavailable
	}
	var refused *client.RefusedError
	if errors.As(err, &refused) {
		return exitFindings
	}
	return codeOf(err)
}
