package vectors

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/event"
)

// leafVector is one good leaf.
type leafVector struct {
	Time       uint64      `json:"time"` // ms since the epoch
	Signatures []signature `json:"signatures"`
	Payload    []byte      `json:"payload"`
	Leaf       []byte      `json:"leaf"`
	LeafHash   hash        `json:"leafHash"`
}

// malformedLeaf is one that no log may hold.
type malformedLeaf struct {
	Leaf []byte `json:"leaf"`
}

func vectorOf(l leaf) leafVector {
	if l.signatures == nil {
		l.signatures = []signature{}
	}
	encoded := l.encode()
	return leafVector{l.time, l.signatures, l.payload, encoded, hashLeaf(encoded)}
}

// leaves writes leaf encodings and their hashes.
func (f *files) leaves(s *sampleLog) {
	at := func(i int) leaf { return newLeaf(s.times[i], s.events[i].payload, s.events[i].signatures...) }
	small := signature{KeyID: "k", Sig: []byte{0xaa, 0xbb}}
	good := map[string]leaf{
		"log-created-unsigned":       at(0),
		"key-registered-by-three":    at(2),
		"attested-ecdsa-p256":        at(s.find("session.attested")),
		"person-enrolled-ecdsa-p384": at(s.find("person.enrolled")),
		"command-ed25519":            at(s.find("command.executed")),
		"smallest":                   newLeaf(0, []byte("x")),
		"latest-time":                newLeaf(1<<53-1, []byte("{}"), small),
		"longest-keyid":              newLeaf(1, []byte("{}"), signature{KeyID: strings.Repeat("k", 255), Sig: []byte{1}}),
		"eight-signatures":           newLeaf(1, []byte("{}"), manySignatures(8)...),
		"payload-is-not-json":        newLeaf(1, []byte{0x00, 0xff, '\n'}, small),
	}
	for name, l := range good {
		f.json("vectors/leaf/good/"+name+".json", vectorOf(l))
	}
	for name, encoded := range malformedLeaves(newLeaf(1_700_000_000_000, []byte(`{"a":1}`), small)) {
		f.json("vectors/leaf/malformed/"+name+".json", malformedLeaf{encoded})
	}
}

func manySignatures(n int) []signature {
	var all []signature
	for i := range n {
		all = append(all, signature{KeyID: fmt.Sprintf("k%d", i), Sig: []byte{byte(i)}})
	}
	return all
}

func malformedLeaves(l leaf) map[string][]byte {
	good := l.encode()
	change := func(do func(*leaf)) []byte {
		c := l
		do(&c)
		return c.encode()
	}
	patch := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	// Where things stand: magic 4, time 8, length 1, type 28, length 2.
	const signatures = 4 + 8 + 1 + 28
	return map[string][]byte{
		"empty":                         {},
		"magic-only":                    good[:4],
		"magic-of-version-2":            change(func(l *leaf) { l.magic = "EL02" }),
		"magic-in-small-letters":        change(func(l *leaf) { l.magic = "el01" }),
		"cut-in-the-time":               good[:9],
		"cut-in-the-signature":          good[:signatures+4],
		"cut-in-the-payload":            good[:len(good)-1],
		"one-byte-behind":               append(bytes.Clone(good), 0),
		"newline-behind":                append(bytes.Clone(good), '\n'),
		"time-of-2-to-the-53":           change(func(l *leaf) { l.time = 1 << 53 }),
		"time-negative":                 change(func(l *leaf) { l.time = 1<<64 - 1 }),
		"payload-type-empty":            change(func(l *leaf) { l.payloadType = "" }),
		"payload-type-json":             change(func(l *leaf) { l.payloadType = "application/json" }),
		"payload-type-in-capitals":      change(func(l *leaf) { l.payloadType = strings.ToUpper(payloadType) }),
		"payload-empty":                 change(func(l *leaf) { l.payload = nil }),
		"payload-length-too-large":      patch(len(good)-len(l.payload)-1, byte(len(l.payload)+1)),
		"payload-length-too-small":      patch(len(good)-len(l.payload)-1, byte(len(l.payload)-1)),
		"signatures-length-past-end":    patch(signatures, 0xff, 0xff),
		"signatures-length-splits-one":  patch(signatures, 0x00, 0x05),
		"keyid-empty":                   change(func(l *leaf) { l.signatures = []signature{{KeyID: "", Sig: []byte{1}}} }),
		"signature-empty":               change(func(l *leaf) { l.signatures = []signature{{KeyID: "k"}} }),
		"one-key-signs-twice":           change(func(l *leaf) { l.signatures = append(manySignatures(2), manySignatures(1)...) }),
		"nine-signatures":               change(func(l *leaf) { l.signatures = manySignatures(9) }),
		"signature-length-past-its-end": patch(signatures+2+1+1, 0xff, 0xff),
	}
}

// envelopes writes signed DSSE envelopes. The keys are those of testdata/keys.
func (f *files) envelopes(s *sampleLog) {
	for name, i := range map[string]int{
		"ed25519": s.find("command.executed"), "ecdsa-p256": s.find("session.attested"), "ecdsa-p384": s.find("person.enrolled"),
		"two-administrators": 1, "two-administrators-and-the-key": 2,
	} {
		f.envelope("vectors/envelope/good/"+name, s.events[i].payload, s.events[i].signatures...)
	}
	attested := s.events[s.find("session.attested")]
	other := s.events[s.find("session.ended")]
	command := s.events[s.find("command.executed")]
	spoil := func(sig signature, change func([]byte) []byte) signature {
		return signature{KeyID: sig.KeyID, Sig: change(bytes.Clone(sig.Sig))}
	}
	bad := func(name string, payload []byte, sigs ...signature) {
		f.envelope("vectors/envelope/bad-signature/"+name, payload, sigs...)
	}
	bad("payload-changed", bytes.Replace(attested.payload, []byte(`"observed_all":true`), []byte(`"observed_all":null`), 1), attested.signatures...)
	bad("of-another-payload", attested.payload, other.signatures...)
	bad("ed25519-bit-flipped", command.payload, spoil(command.signatures[0], func(b []byte) []byte { b[40] ^= 1; return b }))
	bad("ed25519-cut", command.payload, spoil(command.signatures[0], func(b []byte) []byte { return b[:63] }))
	bad("ed25519-s-plus-order", command.payload, spoil(command.signatures[0], addOrder))
	bad("ecdsa-raw-and-not-der", attested.payload, spoil(attested.signatures[0], rawECDSA))
	bad("ecdsa-byte-behind", attested.payload, spoil(attested.signatures[0], func(b []byte) []byte { return append(b, 0) }))
	bad("under-another-keyid", attested.payload, signature{KeyID: other.signatures[0].KeyID, Sig: attested.signatures[0].Sig})
	bad("second-of-two-bad", s.events[1].payload, s.events[1].signatures[0], spoil(s.events[1].signatures[1], func(b []byte) []byte { b[10] ^= 1; return b }))
	gateway, err := samples.Key("gateway", event.Ed25519)
	f.fail(err)
	plain, err := signBytes(gateway, command.payload)
	f.fail(err)
	bad("of-the-bare-payload", command.payload, plain)
}

func (f *files) envelope(name string, payload []byte, sigs ...signature) {
	b, err := envelope(payload, sigs...)
	f.fail(err)
	f.bytes(name+".json", append(b, '\n'))
}

// rawECDSA turns a DER signature into r and s of 32 bytes each, as JWS has it.
func rawECDSA(der []byte) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out
}

// addOrder adds the order of the curve to s, which verifiers that do not check
// its range accept (RFC 8032 section 5.1.7).
func addOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := make([]byte, 32)
	for i, b := range sig[32:] {
		s[31-i] = b
	}
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	for i, b := range sum {
		sig[32+31-i] = b
	}
	return sig
}
