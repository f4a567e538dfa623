package log

import (
	"fmt"
	"testing"
	"time"
)

// TestEvidenceIsShared: whoever brings about conflict after conflict drives out
// its own records and nobody else's, also after a restart.
func TestEvidenceIsShared(t *testing.T) {
	var v evidence
	at := time.Unix(1, 0)
	keep := func(v *evidence, by string, n int) {
		e := Evidence{Seq: v.next, Kind: "conflict", By: by, Time: at, Record: fmt.Appendf(nil, "%s %d", by, n)}
		v.took(v.place(e.owner()), e)
	}
	has := func(v *evidence, by string) int { return v.share["conflict\x00"+by] }
	for n := range 10 {
		keep(&v, "quiet", n)
	}
	for n := range 5 * evidenceSlots {
		keep(&v, "loud", n)
	}
	if has(&v, "quiet") != 10 || has(&v, "loud") != evidenceSlots-10 || len(v.slots) != evidenceSlots || len(v.kept) != evidenceSlots {
		t.Fatalf("the quiet one has %d records, the loud one %d", has(&v, "quiet"), has(&v, "loud"))
	}
	// A second loud one takes from the first, up to an equal share.
	for n := range 5 * evidenceSlots {
		keep(&v, "louder", n)
	}
	if has(&v, "quiet") != 10 || has(&v, "loud") < evidenceSlots/2-10 || has(&v, "louder") < evidenceSlots/2-10 {
		t.Fatalf("the quiet one has %d records, the loud ones %d and %d", has(&v, "quiet"), has(&v, "loud"), has(&v, "louder"))
	}
	// The newest records of each are those that are kept.
	oldest := int64(11 * evidenceSlots)
	for _, s := range v.slots {
		if s.owner == "conflict\x00louder" {
			oldest = min(oldest, s.seq)
		}
	}
	if kept := v.next - oldest; kept != int64(has(&v, "louder")) {
		t.Errorf("of the louder one the records from %d on are kept, %d of %d", oldest, has(&v, "louder"), kept)
	}
}

// TestEvidenceKeepsItsOwner: shares survive a restart.
func TestEvidenceKeepsItsOwner(t *testing.T) {
	l := newTestLog(t, nil)
	l.KeepEvidenceBy("conflict", "somebody", []byte("one"))
	l.KeepEvidenceBy("conflict", "somebody", []byte("two"))
	l.KeepEvidence("contradiction", []byte("three"))
	var kept []Evidence
	for deadline := time.Now().Add(10 * time.Second); len(kept) < 3; time.Sleep(time.Millisecond) {
		kept = nil
		if err := l.Evidence(t.Context(), func(e Evidence) error { kept = append(kept, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("evidence is not kept")
		}
	}
	if kept[1].By != "somebody" || string(kept[1].Record) != "two" || kept[2].By != "" {
		t.Errorf("kept %+v", kept)
	}
	l.crash()
	if got := l.evidence.share; got["conflict\x00somebody"] != 2 || got["contradiction\x00"] != 1 || l.evidence.next != 3 {
		t.Errorf("after a restart the shares are %v", got)
	}
}
