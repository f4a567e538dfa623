package entry

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/strict"
)

func sample() *Entry {
	return &Entry{
		Time:        1_700_000_000_000,
		PayloadType: PayloadType,
		Signatures: []Signature{
			{KeyID: KeyID([]byte("key one")), Sig: bytes.Repeat([]byte{1}, 64)},
			{KeyID: KeyID([]byte("key two")), Sig: bytes.Repeat([]byte{2}, 71)},
		},
		Payload: []byte(`{"specversion":"1.0"}`),
	}
}

func marshal(t testing.TB, e *Entry) []byte {
	t.Helper()
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// TestEncoding spells one small leaf out by hand, so that a change of format
// cannot pass unseen.
func TestEncoding(t *testing.T) {
	leaf := marshal(t, &Entry{Time: 0x0102030405, PayloadType: PayloadType,
		Signatures: []Signature{{KeyID: "k", Sig: []byte{0xaa, 0xbb}}}, Payload: []byte("{}")})
	want := "454c3031" + "0000000102030405" +
		"1c" + hex.EncodeToString([]byte("application/cloudevents+json")) +
		"0006" + "01" + "6b" + "0002" + "aabb" +
		"0002" + "7b7d"
	if got := hex.EncodeToString(leaf); got != want {
		t.Errorf("leaf = %s\nwant   %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	e := sample()
	leaf := marshal(t, e)
	got, err := Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	if again := marshal(t, got); !bytes.Equal(again, leaf) {
		t.Error("parsing and marshalling changed the leaf")
	}
	SetTime(leaf, 42)
	if got, err := Parse(leaf); err != nil || got.Time != 42 || TimeOf(leaf) != 42 {
		t.Errorf("after SetTime: %v, %v, TimeOf %d", got, err, TimeOf(leaf))
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	e := sample()
	v, err := ParseEnvelope(e.Envelope().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(marshal(t, v.Entry(e.Time)), marshal(t, e)) {
		t.Error("the leaf rebuilt from its envelope differs")
	}
}

func TestMarshalAndParseRefuseTheSame(t *testing.T) {
	for name, spoil := range map[string]func(*Entry){
		"negative time":        func(e *Entry) { e.Time = -1 },
		"time of 2^53":         func(e *Entry) { e.Time = MaxTime + 1 },
		"other payload type":   func(e *Entry) { e.PayloadType = "application/json" },
		"payload type in caps": func(e *Entry) { e.PayloadType = strings.ToUpper(PayloadType) },
		"empty payload":        func(e *Entry) { e.Payload = nil },
		"payload too large":    func(e *Entry) { e.Payload = make([]byte, MaxPayload+1) },
		"empty keyid":          func(e *Entry) { e.Signatures[0].KeyID = "" },
		"long keyid":           func(e *Entry) { e.Signatures[0].KeyID = strings.Repeat("k", 256) },
		"empty signature":      func(e *Entry) { e.Signatures[1].Sig = nil },
		"long signature":       func(e *Entry) { e.Signatures[1].Sig = make([]byte, 65536) },
		"one key twice":        func(e *Entry) { e.Signatures[1].KeyID = e.Signatures[0].KeyID },
		"nine signatures": func(e *Entry) {
			e.Signatures = nil
			for i := range 9 {
				e.Signatures = append(e.Signatures, Signature{KeyID: string(rune('a' + i)), Sig: []byte{1}})
			}
		},
		"leaf too large": func(e *Entry) {
			e.Payload = make([]byte, MaxPayload)
			e.Signatures[0].Sig = make([]byte, 20000)
		},
	} {
		e := sample()
		spoil(e)
		if _, err := e.Marshal(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Marshal = %v, want ErrMalformed", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := marshal(t, sample())
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	cases := map[string][]byte{
		"nothing":              nil,
		"other magic":          edit(func(b []byte) []byte { b[3] = '2'; return b }),
		"a trailing byte":      edit(func(b []byte) []byte { return append(b, 0) }),
		"time beyond 2^53":     edit(func(b []byte) []byte { b[4] = 1; return b }),
		"negative time":        edit(func(b []byte) []byte { b[4] = 0x80; return b }),
		"payload type changed": edit(func(b []byte) []byte { b[13] ^= 0x20; return b }),
		"empty payload type":   append([]byte(Magic), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 'x'),
	}
	for n := range good {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("Parse of the first %d bytes = %v, want ErrMalformed", n, err)
		}
	}
	for name, leaf := range cases {
		if _, err := Parse(leaf); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Parse = %v, want ErrMalformed", name, err)
		}
	}
	// What Marshal would never write, spliced together from what it does.
	two := sample()
	two.Signatures[1].KeyID = strings.Repeat("x", len(two.Signatures[0].KeyID))
	leaf := marshal(t, two)
	twice := bytes.Replace(leaf, []byte(two.Signatures[1].KeyID), []byte(two.Signatures[0].KeyID), 1)
	if _, err := Parse(twice); !errors.Is(err, ErrMalformed) {
		t.Errorf("Parse of a leaf that one key signs twice = %v, want ErrMalformed", err)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	const good = `{"payloadType":"application/cloudevents+json","payload":"e30=","signatures":[{"keyid":"k","sig":"AQ=="}]}`
	if _, err := ParseEnvelope([]byte(good)); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, in := range map[string]string{
		"empty":                    "",
		"not an object":            `[]`,
		"null":                     `null`,
		"truncated":                good[:len(good)-1],
		"trailing bytes":           good + "x",
		"repeated member":          replace(`"payload":`, `"payload":"e30=","payload":`),
		"member in other case":     replace(`"payload":`, `"Payload":`),
		"unknown member":           replace(`"payload":`, `"x":1,"payload":`),
		"unknown signature member": replace(`"keyid":`, `"cert":"","keyid":`),
		"signature member in caps": replace(`"keyid":`, `"KeyID":`),
		"no payload type":          replace(`"payloadType":"application/cloudevents+json",`, ``),
		"no payload":               replace(`"payload":"e30=",`, ``),
		"no signatures":            replace(`,"signatures":[{"keyid":"k","sig":"AQ=="}]`, ``),
		"signatures null":          replace(`[{"keyid":"k","sig":"AQ=="}]`, `null`),
		"signature null":           replace(`{"keyid":"k","sig":"AQ=="}`, `null`),
		"no keyid":                 replace(`"keyid":"k",`, ``),
		"no sig":                   replace(`,"sig":"AQ=="`, ``),
		"payload not a string":     replace(`"e30="`, `{}`),
		"keyid not a string":       replace(`"k"`, `1`),
		"other payload type":       replace(`cloudevents`, `clouDevents`),
		"empty payload":            replace(`"e30="`, `""`),
		"unpadded base64":          replace(`"e30="`, `"e30"`),
		"base64 with stray bits":   replace(`"AQ=="`, `"AR=="`),
		"base64 with a line break": replace(`"e30="`, `"e3\n0="`),
		"base64 with a space":      replace(`"e30="`, `" e30="`),
		"URL-safe base64":          replace(`"AQ=="`, `"-_8="`),
		"signs twice":              replace(`[{`, `[{"keyid":"k","sig":"Ag=="},{`),
		"nine signatures":          replace(`[{`, `[`+strings.Repeat(`{"keyid":"z","sig":"Ag=="},`, 8)+`{`),
	} {
		if v, err := ParseEnvelope([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParseEnvelope = %v, %v, want ErrMalformed", name, v, err)
		}
	}
}

func TestIdentityKeepsSourceAndIDApart(t *testing.T) {
	if Identity("ab", "c") == Identity("a", "bc") {
		t.Error("moving a letter from source to id keeps the identity")
	}
	if Identity("a", "b") == Identity("b", "a") {
		t.Error("source and id can be exchanged")
	}
}

func TestContent(t *testing.T) {
	a, b := sample(), sample()
	slices.Reverse(b.Signatures)
	b.Signatures[0].Sig = []byte("another ECDSA signature")
	b.Time++
	if a.Content() != b.Content() {
		t.Error("order, signature bytes or time changed the content")
	}
	b.Signatures = b.Signatures[:1]
	if a.Content() == b.Content() {
		t.Error("one signer less, same content")
	}
	c := sample()
	c.Payload = append(c.Payload, ' ')
	if a.Content() == c.Content() {
		t.Error("another payload, same content")
	}
}

// FuzzParse: there is one encoding.
func FuzzParse(f *testing.F) {
	f.Add(marshal(f, sample()))
	unsigned := sample()
	unsigned.Signatures = nil
	f.Add(marshal(f, unsigned))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := Parse(leaf)
		ms, payload, quickErr := Payload(leaf)
		if (err == nil) != (quickErr == nil) || err == nil && (ms != e.Time || !bytes.Equal(payload, e.Payload)) {
			t.Fatalf("Parse: %v, %v; Payload: %d, %q, %v", e, err, ms, payload, quickErr)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error without ErrMalformed: %v", err)
			}
			return
		}
		again, err := e.Marshal()
		if err != nil {
			t.Fatalf("parsed and then refused: %v", err)
		}
		if !bytes.Equal(again, leaf) {
			t.Fatalf("two encodings of one entry:\n%x\n%x", leaf, again)
		}
	})
}

// slowParseEnvelope is ParseEnvelope by encoding/json, with what that is too
// lenient about looked at beside it.
func slowParseEnvelope(b []byte) (*Envelope, bool) {
	var top map[string]json.RawMessage
	if strict.Check(b) != nil || json.Unmarshal(b, &top) != nil || len(top) != 3 {
		return nil, false
	}
	var payload string
	v := &Envelope{}
	var signatures []map[string]*string
	if json.Unmarshal(top["payloadType"], &v.PayloadType) != nil ||
		json.Unmarshal(top["payload"], &payload) != nil ||
		json.Unmarshal(top["signatures"], &signatures) != nil || signatures == nil {
		return nil, false
	}
	decode := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || base64.StdEncoding.EncodeToString(b) != s {
			return nil
		}
		return b
	}
	v.Payload = decode(payload)
	for _, s := range signatures {
		if len(s) != 2 || s["keyid"] == nil || s["sig"] == nil {
			return nil, false
		}
		v.Signatures = append(v.Signatures, Signature{KeyID: *s["keyid"], Sig: decode(*s["sig"])})
	}
	return v, v.Entry(0).validate() == nil
}

// FuzzParseEnvelope: what is accepted makes a leaf whose envelope is accepted
// too and is the same, and encoding/json reads the same from it.
func FuzzParseEnvelope(f *testing.F) {
	f.Add(sample().Envelope().Marshal())
	f.Add([]byte(`{"payloadType":"application/cloudevents+json","payload":"e30=","signatures":[]}`))
	f.Add([]byte(` { "signatures" : [ {"sig":"AQ==", "keyid":"k"} ] , "\u0070ayload":"e3\u0030=", "payloadType":"application\/cloudevents+json"} `))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseEnvelope(b)
		slow, ok := slowParseEnvelope(b)
		if ok != (err == nil) {
			t.Fatalf("%q: %v, encoding/json says %v", b, err, ok)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(v, slow) {
			t.Fatalf("%q is %v, encoding/json reads %v", b, v, slow)
		}
		again, err := ParseEnvelope(v.Marshal())
		if err != nil {
			t.Fatalf("accepted once, then refused: %v", err)
		}
		if !bytes.Equal(again.Marshal(), v.Marshal()) {
			t.Fatal("marshalling is not stable")
		}
	})
}
