package server

import (
	"encoding/json"
	"testing"

	"github.com/escortlog/escortlog/log"
	"golang.org/x/mod/sumdb/tlog"
)

// TestReceiptIsJSON: what is written by hand is what encoding/json writes of the
// same values.
func TestReceiptIsJSON(t *testing.T) {
	const note = "log.example.org/<&>\n5\n\"root\"\n\n— log.example.org AAAA+/==\n"
	quoted, err := json.Marshal(note)
	if err != nil {
		t.Fatal(err)
	}
	pos := log.Position{Index: 12, Time: 1_700_000_000_123, LeafHash: tlog.RecordHash([]byte("leaf"))}
	status := 201
	for _, hashes := range [][]tlog.Hash{{}, {tlog.RecordHash(nil)}, {tlog.RecordHash([]byte("a")), tlog.RecordHash([]byte("b"))}} {
		proof := &inclusion{hashes: hashes, note: &verifiedNote{json: quoted}}
		list := make([][]byte, len(hashes))
		for i := range hashes {
			list[i] = hashes[i][:]
		}
		for _, test := range []struct {
			got  []byte
			want any
		}{
			{appendReceipt(nil, pos, nil), receipt{Index: pos.Index, LeafHash: pos.LeafHash[:], Time: pos.Time}},
			{appendReceipt(nil, pos, proof), receipt{Index: pos.Index, LeafHash: pos.LeafHash[:], Time: pos.Time, Checkpoint: note, Proof: list}},
			{appendBatchReceipt(nil, status, pos, nil), batchEntry{Status: status, Index: &pos.Index, LeafHash: pos.LeafHash[:], Time: &pos.Time}},
			{appendBatchReceipt(nil, status, pos, proof), batchEntry{Status: status, Index: &pos.Index, LeafHash: pos.LeafHash[:], Time: &pos.Time, Proof: list}},
		} {
			want, err := json.Marshal(test.want)
			if err != nil {
				t.Fatal(err)
			}
			if string(test.got) != string(want) {
				t.Errorf("got  %s\nwant %s", test.got, want)
			}
		}
	}
}

// TestLateForACheckpoint: who comes for a checkpoint when a larger one has been
// verified is given that, and the smaller one is not verified again.
func TestLateForACheckpoint(t *testing.T) {
	f := newFixture(t, setup{})
	p := f.server.prover
	smaller := f.log.Published()
	verified := p.note(smaller)
	if again := p.note(smaller); again != verified || verified.err != nil {
		t.Fatalf("the note of size %d was verified twice, or not: %v", smaller.Size, verified.err)
	}
	f.fill(1)
	larger := f.log.Published()
	if larger.Size <= smaller.Size {
		t.Fatalf("size %d follows size %d", larger.Size, smaller.Size)
	}
	next := p.note(larger)
	if next.err != nil || next.cp.Size != larger.Size {
		t.Fatalf("size %d, %v, want %d", next.cp.Size, next.err, larger.Size)
	}
	if late := p.note(smaller); late != next {
		t.Errorf("who came late was given size %d", late.cp.Size)
	}
	again := *larger // as an idle log publishes it, with newer cosignatures
	if newer := p.note(&again); newer.pub != &again || newer.err != nil {
		t.Errorf("who came for a newer note of the same size was not given it: %v", newer.err)
	}
}
