package event

import (
	"crypto/sha256"
	"os"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/strict"
)

// What a door or an auditor does to one event, each beside a raw SHA-256 of the
// same bytes and a raw verification.
func BenchmarkEvent(b *testing.B) {
	payload, err := os.ReadFile("testdata/samples/command.executed.v1.json")
	if err != nil {
		b.Fatal(err)
	}
	ev, err := Parse(payload)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("raw SHA-256", func() error { sha256.Sum256(payload); return nil })
	run("strict.Check", func() error { return strict.Check(payload) })
	run("Parse", func() error { _, err := Parse(payload); return err })
	run("Validate", func() error { return Validate(ev, false) })
	for _, keyType := range []string{Ed25519, ECDSAP256, ECDSAP384} {
		priv, err := GenerateKey(keyType)
		if err != nil {
			b.Fatal(err)
		}
		pub, err := NewPublicKey(priv.Public())
		if err != nil {
			b.Fatal(err)
		}
		sig, err := Sign(priv, entry.PayloadType, payload)
		if err != nil {
			b.Fatal(err)
		}
		e := &entry.Entry{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}
		job := SigJob{Key: pub, Entry: e, Signature: sig}
		run("verify "+keyType, job.Verify)
	}
}
