package witness

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
)

// seeds are requests of both kinds, right and wrong.
func seeds(t testing.TB) []string {
	l := newLog(t, "log.example/one")
	v := l.Honest()
	add, sub := v.Request(5, 9), conformance.SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, 20), v.Note(20))
	out := []string{
		"", "\n\n", "old 0\n\n", "subtree 0 1\n\n", add, sub,
		v.Request(0, 0), v.Request(0, 5), conformance.AddBody(0, make([]tlog.Hash, 63), v.Note(5)), conformance.AddBody(0, make([]tlog.Hash, 64), v.Note(5)),
		conformance.AddBody(5, nil, v.Checkpoint(9).Text()+"\n"),
	}
	for _, s := range []string{add, sub} {
		out = append(out, strings.ReplaceAll(s, "\n", "\r\n"), strings.Replace(s, " ", "  ", 1), strings.Replace(s, " ", " 0", 1),
			strings.Replace(s, " ", " +", 1), strings.TrimSuffix(s, "\n"), strings.Replace(s, "\n\n", "\n", 1), strings.Replace(s, "=\n", "=\r\n", 1),
			strings.Replace(s, "=\n", "\n", 1), nonCanonical(s), strings.Replace(s, "\n\n", "\n\n\n", 1), s+"\n", s+s, strings.Replace(s, "log.example", strings.Repeat("x", 300), 1))
	}
	return out
}

// nonCanonical writes the first hash in another way that a lenient decoder reads as the same.
func nonCanonical(s string) string {
	i := strings.Index(s, "=\n") - 1
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])|1]) + s[i+1:]
}

// What is accepted is written in one way only: it is what its parts, encoded again, give.
func FuzzAddRequest(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseAddRequest(body)
		if err != nil {
			return
		}
		if again := conformance.AddBody(r.old, r.proof, r.note()); again != string(body) {
			t.Errorf("%q is accepted as %q", body, again)
		}
		if len(r.proof) > 63 || r.old < 0 || r.cp.Size < 0 || r.cp.Origin == "" || len(r.cp.Origin) > 255 {
			t.Errorf("%q is accepted", body)
		}
	})
}

func FuzzSubtreeRequest(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseSubtreeRequest(body)
		if err != nil {
			return
		}
		if again := conformance.SubtreeBody(r.start, r.end, r.hash, r.proof, r.note()); again != string(body) {
			t.Errorf("%q is accepted as %q", body, again)
		}
	})
}

// note is the checkpoint with its lines, encoded again.
func (s *signed) note() string {
	var lines [][]byte
	for _, l := range s.sigs {
		lines = append(lines, l.Line())
	}
	return string(checkpoint.Join(s.cp.Text(), lines...))
}

// Any body at all gets an answer that the specification knows, and never a wrong signature.
func FuzzAddCheckpoint(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add([]byte(s))
	}
	w, l := newWitness(f)
	f.Add([]byte(l.Forked().Request(0, 5)))
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, err := w.AddCheckpoint(body)
		switch status(t, err) {
		case 400, 403, 404, 409, 422:
			if lines != nil {
				t.Errorf("refused with lines: %q", lines)
			}
		case 200: // the seeds hold no request of this log but one
		default:
			t.Errorf("%q: %v", body, err)
		}
		if _, err := w.SignSubtree(body); err == nil {
			t.Errorf("%q: signed", body)
		}
	})
}

// A list that is accepted stays the same set of logs when one is added and taken away again.
func FuzzLogList(f *testing.F) {
	v := vkeyOf(f, "log.example/fuzz")
	for _, s := range []string{"", "logs/v0", emptyLogList, emptyLogList + LogEntry{Key: v, Origin: "other", URL: "http://x", QPD: 3, Contact: "c"}.text()} {
		f.Add([]byte(s))
	}
	added := vkeyOf(f, "log.example/added")
	f.Fuzz(func(t *testing.T, list []byte) {
		before, skipped, err := ParseLogList(list)
		if err != nil || len(skipped) != 0 {
			return
		}
		more, err := addEntry(list, LogEntry{Key: added, Origin: added.Name()})
		if err != nil {
			t.Fatalf("%q: %v", list, err)
		}
		less, n, err := removeEntries(more, added.VKey())
		if err != nil || n != 1 {
			t.Fatalf("%q: %d, %v", more, n, err)
		}
		after, _, err := ParseLogList(less)
		if err != nil || len(after) != len(before) {
			t.Fatalf("%q became %q: %v", list, less, err)
		}
		for i := range after {
			if after[i].text() != before[i].text() {
				t.Errorf("%q became %q", before[i].text(), after[i].text())
			}
		}
	})
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1": 1, "9223372036854775807": 1<<63 - 1} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "00", "01", "+1", "-1", "-0", "1 ", " 1", "1\r", "0x1", "1_0", "1e3", "9223372036854775808", "18446744073709551616", "१"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func ExampleRefusal() {
	fmt.Println(&Refusal{Status: 404, Reason: "no such log"})
	// Output: 404: no such log
}
