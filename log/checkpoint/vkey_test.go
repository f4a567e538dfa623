package checkpoint_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/note"
)

// Vectors of golang.org/x/mod/sumdb/note.
const (
	neumannVKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
	neumannSKey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
)

func TestKeyVectors(t *testing.T) {
	s, err := checkpoint.ParseSKey(neumannSKey)
	if err != nil {
		t.Fatal(err)
	}
	if s.VKey() != neumannVKey || s.SKey() != neumannSKey {
		t.Errorf("%s, %s", s.VKey(), s.SKey())
	}
	if strings.Contains(fmt.Sprint(s, s.String()), "AYEKFALV") {
		t.Error("a signer prints its secret")
	}
}

func TestKeysRoundTrip(t *testing.T) {
	for _, name := range []string{"k", "witness.example/w1", "naïve", strings.Repeat("n", 255)} {
		for _, alg := range algorithms() {
			s := newSigner(t, name, alg)
			v, err := checkpoint.ParseVKey(s.VKey())
			if err != nil || v.VKey() != s.VKey() || v.Name() != name || v.Algorithm() != alg {
				t.Errorf("%s %s: %v", alg, name, err)
			}
			again, err := checkpoint.ParseSKey(s.SKey())
			if err != nil || again.VKey() != s.VKey() {
				t.Errorf("%s %s: %v", alg, name, err)
			}
		}
	}
}

// vkey builds a verifier key whose key ID is right.
func vkey(t *testing.T, name string, key []byte) string {
	t.Helper()
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, key), base64.StdEncoding.EncodeToString(key))
}

func TestParseVKeyRefuses(t *testing.T) {
	ed := func(name string) string { return vkey(t, name, append([]byte{1}, make([]byte, 32)...)) }
	if _, err := checkpoint.ParseVKey(ed("fine")); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty":                     "",
		"name only":                 "PeterNeumann",
		"no key":                    "PeterNeumann+c74f20a3",
		"empty key":                 "PeterNeumann+c74f20a3+",
		"another key ID":            strings.Replace(neumannVKey, "c74f20a3", "c74f20a4", 1),
		"key ID in capitals":        strings.Replace(neumannVKey, "c74f20a3", "C74F20A3", 1),
		"key ID too short":          strings.Replace(neumannVKey, "c74f20a3", "c74f20a", 1),
		"key ID with zero in front": strings.Replace(neumannVKey, "c74f20a3", "0c74f20a3", 1),
		"another name":              strings.Replace(neumannVKey, "Peter", "Petra", 1),
		"another key":               strings.Replace(neumannVKey, "ARpc", "ARpd", 1),
		"newline at the end":        neumannVKey + "\n",
		"newline in the base64":     strings.Replace(neumannVKey, "ARpc", "ARpc\n", 1),
		"space in front":            " " + neumannVKey,
		"no padding":                strings.TrimRight(newSigner(t, "k", checkpoint.AlgMLDSA44).VKey(), "="),
		"empty name":                ed(""),
		"space in name":             ed("a b"),
		"no-break space in name":    ed("a\u00a0b"),
		"newline in name":           ed("a\nb"),
		"control in name":           ed("a\x01b"),
		"bad UTF-8 in name":         ed("a\xffb"),
		"name of 256 bytes":         ed(strings.Repeat("n", 256)),
		"Ed25519 of 31 bytes":       vkey(t, "k", append([]byte{1}, make([]byte, 31)...)),
		"Ed25519 of 33 bytes":       vkey(t, "k", append([]byte{4}, make([]byte, 33)...)),
		"ML-DSA-44 of 32 bytes":     vkey(t, "k", append([]byte{6}, make([]byte, 32)...)),
		"ML-DSA-44 of 1313 bytes":   vkey(t, "k", append([]byte{6}, make([]byte, 1313)...)),
		"type 0":                    vkey(t, "k", append([]byte{0}, make([]byte, 32)...)),
		"type 2":                    vkey(t, "k", append([]byte{2}, make([]byte, 32)...)),
		"type 5":                    vkey(t, "k", append([]byte{5}, make([]byte, 32)...)),
		"type 255":                  vkey(t, "k", append([]byte{255}, make([]byte, 32)...)),
		"a private key":             neumannSKey,
	} {
		if v, err := checkpoint.ParseVKey(s); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestParseSKeyRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty":           "",
		"public key":      neumannVKey,
		"no prefix":       strings.TrimPrefix(neumannSKey, "PRIVATE+KEY+"),
		"lowercase":       strings.ToLower(neumannSKey[:12]) + neumannSKey[12:],
		"another key ID":  strings.Replace(neumannSKey, "c74f20a3", "c74f20a4", 1),
		"another name":    strings.Replace(neumannSKey, "Peter", "Petra", 1),
		"another seed":    strings.Replace(neumannSKey, "AYEK", "AYEL", 1),
		"seed too short":  neumannSKey[:len(neumannSKey)-4],
		"newline at end":  neumannSKey + "\n",
		"unknown type":    strings.Replace(neumannSKey, "+AYEK", "+AoEK", 1),
		"type of no seed": "PRIVATE+KEY+PeterNeumann+c74f20a3+AQ==",
	} {
		_, err := checkpoint.ParseSKey(s)
		if !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "FALVFGyNhPJEMzD1QIDr") {
			t.Errorf("%s: the message shows the secret: %v", name, err)
		}
	}
}

func TestGenerateSignerRefuses(t *testing.T) {
	if _, err := checkpoint.GenerateSigner("k", checkpoint.AlgMLDSA44, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short randomness: %v", err)
	}
	for _, name := range []string{"", "a b", "a+b", strings.Repeat("n", 256)} {
		if _, err := checkpoint.GenerateSigner(name, checkpoint.AlgEd25519, seeded("", 0)); err == nil {
			t.Errorf("made a key named %q", name)
		}
	}
	if _, err := checkpoint.GenerateSigner("k", 2, seeded("", 0)); err == nil {
		t.Error("made a key of type 2")
	}
}

func FuzzParseVKey(f *testing.F) {
	f.Add(neumannVKey)
	f.Add(exampleVKey)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := checkpoint.ParseVKey(s)
		if err != nil {
			return
		}
		if v.VKey() != s {
			t.Fatalf("accepted %q, which is %q", s, v.VKey())
		}
		if v.Algorithm() == checkpoint.AlgEd25519 {
			if _, err := note.NewVerifier(s); err != nil {
				t.Fatalf("x/mod refuses %q: %v", s, err)
			}
		}
	})
}
