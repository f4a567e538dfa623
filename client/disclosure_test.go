package client

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
)

// executed returns the first sample event with two commitments, and everything
// that its submitter kept.
func executed(t *testing.T) (*entry.Entry, []Disclosure) {
	t.Helper()
	f, err := os.Open("../testdata/sessions/disclosures.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kept, err := ParseDisclosures(f)
	if err != nil {
		t.Fatal(err)
	}
	events, err := os.ReadFile("../testdata/sessions/good.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(events) {
		if bytes.Contains(line, []byte("command.executed.v1")) {
			return &entry.Entry{Time: 1, PayloadType: entry.PayloadType, Payload: bytes.TrimSpace(line)}, kept
		}
	}
	t.Fatal("no command was executed")
	return nil, nil
}

func TestDisclosure(t *testing.T) {
	e, kept := executed(t)
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hash := entry.LeafHash(leaf)

	withheld, err := CheckDisclosures(e, hash, nil)
	if err != nil || len(withheld) != 2 || withheld[0].Disclosed || withheld[0].Pointer != "/data/command" {
		t.Fatalf("nothing disclosed: %+v, %v", withheld, err)
	}
	one, err := Disclose(e, &hash, kept, "/data/command")
	if err != nil || len(one) != 1 {
		t.Fatalf("%+v, %v", one, err)
	}
	// What is written is read again.
	var file bytes.Buffer
	if err := WriteDisclosures(&file, one); err != nil {
		t.Fatal(err)
	}
	if one, err = ParseDisclosures(&file); err != nil {
		t.Fatal(err)
	}
	got, err := CheckDisclosures(e, hash, one)
	if err != nil || !got[0].Disclosed || string(got[0].Content) != "systemctl status ceph-osd@12" || got[1].Disclosed {
		t.Fatalf("%+v, %v", got, err)
	}
	all, err := Disclose(e, &hash, kept)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d disclosures, %v", len(all), err)
	}
	// What was kept says enough by itself: commitment, salt, content.
	plain := all[1]
	plain.LeafHash, plain.Source, plain.ID, plain.Pointer = "", "", "", ""
	if got, err := CheckDisclosures(e, hash, []Disclosure{plain}); err != nil || !got[1].Disclosed {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWrongDisclosure(t *testing.T) {
	e, kept := executed(t)
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hash := entry.LeafHash(leaf)
	right, err := Disclose(e, &hash, kept, "/data/command")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(d *Disclosure)
		says  string
	}{
		"content":    {func(d *Disclosure) { d.Content = append([]byte("x"), d.Content[1:]...) }, "at /data/command"},
		"salt":       {func(d *Disclosure) { d.Salt = make([]byte, 16) }, "at /data/command"},
		"no salt":    {func(d *Disclosure) { d.Salt = nil }, "at /data/command"},
		"commitment": {func(d *Disclosure) { d.Commitment = kept[0].Commitment }, "at /data/command"},
		"size":       {func(d *Disclosure) { d.Commitment.Size++ }, "at /data/command"},
		"pointer":    {func(d *Disclosure) { d.Pointer = "/data/output_digest" }, "at /data/output_digest"},
		"no pointer": {func(d *Disclosure) { d.Pointer = "/data/run_as" }, "at /data/run_as"},
		"leaf":       {func(d *Disclosure) { d.LeafHash = strings.Repeat("0", 64) }, "about the leaf"},
		"event":      {func(d *Disclosure) { d.ID = "another" }, "about the event another"},
		"another's": {func(d *Disclosure) {
			*d = kept[0]
		}, "has no commitment sha256:"},
	} {
		d := right[0]
		c.spoil(&d)
		if _, err := CheckDisclosures(e, hash, []Disclosure{d}); !errors.Is(err, ErrDisclosure) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{`{"salt":""}`, `{"commitment":{},"commitment":{}}`, `[]`, `{"commitment":{"$commit":"x","size":1},"more":1}`} {
		if _, err := ParseDisclosures(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is taken for a disclosure", bad)
		}
	}
	if _, err := Disclose(e, &hash, kept[:1]); !errors.Is(err, ErrDisclosure) {
		t.Errorf("nothing kept: %v", err)
	}
	if _, err := Disclose(e, &hash, kept[:1], "/data/command"); !errors.Is(err, ErrDisclosure) {
		t.Errorf("not kept: %v", err)
	}
	spoilt := append([]Disclosure{}, right...)
	spoilt[0].Content = nil
	if _, err := Disclose(e, &hash, spoilt); !errors.Is(err, ErrDisclosure) {
		t.Errorf("kept wrongly: %v", err)
	}
}
