package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
)

// sceneReceipt shows one receipt and verifies it as anybody could in years,
// without the log.
func (d *demo) sceneReceipt(context.Context) error {
	d.scene("A receipt, verified offline")
	i := d.find(samples.FullType("session.attested"))
	r := d.receipts[i]
	name := filepath.Join(d.dir, "receipts", number(r.Index))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(name+".tlog-proof", r.Proof.Marshal(), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(name+".leaf", r.Leaf, 0o644); err != nil {
		return err
	}
	d.say("What the escort got for attesting %s: %s.tlog-proof", samples.GoodSession, name)
	d.quote(string(r.Proof.Marshal()))

	v, err := verifyFiles(d.policyFile, name+".tlog-proof", name+".leaf", nil)
	if err != nil {
		return fmt.Errorf("%w: a good receipt was refused: %w", errNotCaught, err)
	}
	ev, err := event.Parse(v.Entry.Payload)
	if err != nil {
		return err
	}
	escort := d.source("escort-p-c21d")
	if err := v.CheckSignatures(escort.Public); err != nil {
		return err
	}
	d.fact("verified", "with nothing but three files: policy, leaf, proof. No network, no clock, nothing of the log's operator")
	d.fact("it proves", "leaf %d of %q, in a tree of %d leaves, is %s %s", v.Index, v.Verified.Origin, v.Verified.Size, strings.TrimPrefix(ev.Type, event.Prefix), ev.Subject)
	d.fact("", "logged at %s; cosigned by %s; signed by the escort's own key", time.UnixMilli(v.Entry.Time).UTC().Format(time.RFC3339), cosigners(v.Verified))
	_, err = verifyFiles(d.policyFile, name+".tlog-proof", name+".leaf", func(leaf []byte) []byte {
		return bytes.Replace(leaf, []byte(`"observed_all":true`), []byte(`"observed_all":null`), 1)
	})
	if err := unless(errors.Is(err, checkpoint.ErrProof), "a changed leaf should not verify: %v", err); err != nil {
		return err
	}
	d.fact("changed", "the same proof with observed_all turned from true to null in the leaf: refused, the proof does not hold")
	return nil
}

// verifyFiles is escortlog verify: it knows only these files. change, when
// given, spoils the leaf first.
func verifyFiles(policyFile, proofFile, leafFile string, change func([]byte) []byte) (*client.Verification, error) {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return nil, err
	}
	policy, err := checkpoint.ParsePolicy(text)
	if err != nil {
		return nil, err
	}
	if text, err = os.ReadFile(proofFile); err != nil {
		return nil, err
	}
	proof, err := checkpoint.ParseProof(text)
	if err != nil {
		return nil, err
	}
	leaf, err := os.ReadFile(leafFile)
	if err != nil {
		return nil, err
	}
	if change != nil {
		leaf = change(leaf)
	}
	return client.Verify(proof, leaf, policy)
}

// find returns which event of the sessions is the first of a type.
func (d *demo) find(typ string) int {
	for i, r := range d.receipts {
		if bytes.Contains(r.Leaf, []byte(`"type":"`+typ+`"`)) {
			return i
		}
	}
	return -1
}

func (d *demo) source(name string) *samples.Source {
	for _, s := range d.sources {
		if s.Name == name {
			return s
		}
	}
	return nil
}
