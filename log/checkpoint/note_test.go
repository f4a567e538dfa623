package checkpoint_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"github.com/escortlog/escortlog/log/checkpoint"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Examples of signed-note and tlog-checkpoint, verbatim.
const (
	exampleVKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	exampleNote = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"

	exampleCheckpoint = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
)

func TestExampleNote(t *testing.T) {
	v, err := checkpoint.ParseVKey(exampleVKey)
	if err != nil {
		t.Fatal(err)
	}
	if v.VKey() != exampleVKey || v.Name() != "example.com/foo" || v.KeyHash() != 0x530d903a || v.Algorithm() != checkpoint.AlgEd25519 {
		t.Errorf("read as %s", v.VKey())
	}
	text, sigs, err := checkpoint.ParseNote([]byte(exampleNote))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Verify(text, sigs, v); err != nil {
		t.Error(err)
	}
	if _, err := checkpoint.Verify("T"+text, sigs, v); !errors.Is(err, checkpoint.ErrBadSignature) {
		t.Errorf("another text: %v", err)
	}
}

func TestCheckpointText(t *testing.T) {
	c, err := checkpoint.Parse(exampleCheckpoint)
	if err != nil {
		t.Fatal(err)
	}
	if c.Origin != "example.com/behind-the-sofa" || c.Size != 20852163 || c.Text() != exampleCheckpoint {
		t.Errorf("read as %+v", c)
	}
	root := strings.Split(exampleCheckpoint, "\n")[2]
	long := strings.Repeat("o", 255)
	for name, text := range map[string]string{
		"size zero":      "o\n0\n" + root + "\n",
		"largest size":   "o\n9223372036854775807\n" + root + "\n",
		"longest origin": long + "\n1\n" + root + "\n",
		"extensions":     "o\n1\n" + root + "\nfirst\nsecond\n",
		"spaces":         " o \n1\n" + root + "\n ext \n",
	} {
		if c, err := checkpoint.Parse(text); err != nil || c.Text() != text {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty":                    "",
		"one line":                 "o\n",
		"two lines":                "o\n1\n",
		"no final newline":         "o\n1\n" + root,
		"empty origin":             "\n1\n" + root + "\n",
		"origin of 256 bytes":      long + "o\n1\n" + root + "\n",
		"empty size":               "o\n\n" + root + "\n",
		"leading zero":             "o\n01\n" + root + "\n",
		"two zeroes":               "o\n00\n" + root + "\n",
		"plus sign":                "o\n+1\n" + root + "\n",
		"minus sign":               "o\n-1\n" + root + "\n",
		"minus zero":               "o\n-0\n" + root + "\n",
		"hex size":                 "o\n0x1\n" + root + "\n",
		"underscore in size":       "o\n1_0\n" + root + "\n",
		"space before size":        "o\n 1\n" + root + "\n",
		"space after size":         "o\n1 \n" + root + "\n",
		"carriage return":          "o\r\n1\r\n" + root + "\r\n",
		"size of 2^63":             "o\n9223372036854775808\n" + root + "\n",
		"size of 2^64":             "o\n18446744073709551616\n" + root + "\n",
		"other digits":             "o\n١\n" + root + "\n",
		"root of 31 bytes":         "o\n1\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n",
		"root of 33 bytes":         "o\n1\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n",
		"root without padding":     "o\n1\n" + strings.TrimSuffix(root, "=") + "\n",
		"root with trailing bits":  "o\n1\n" + strings.Replace(root, "2I=", "2J=", 1) + "\n",
		"root in URL-safe base64":  "o\n1\n" + strings.NewReplacer("+", "-", "/", "_").Replace(root) + "\n",
		"empty root":               "o\n1\n\n",
		"empty extension line":     "o\n1\n" + root + "\n\n",
		"empty line in extensions": "o\n1\n" + root + "\na\n\nb\n",
		"tab":                      "o\to\n1\n" + root + "\n",
		"NUL":                      "o\x00\n1\n" + root + "\n",
		"bad UTF-8":                "o\xff\n1\n" + root + "\n",
		"bad UTF-8 in extension":   "o\n1\n" + root + "\n\xc3(\n",
	} {
		if c, err := checkpoint.Parse(text); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestParseNoteRefuses(t *testing.T) {
	line := "— example.com/foo Uw2QOkn8\n"
	for name, b := range map[string]string{
		"empty":                       "",
		"no signatures":               "text\n",
		"no blank line":               "text\n" + line,
		"nothing after blank line":    "text\n\n",
		"last line does not end":      "text\n\n" + strings.TrimSuffix(line, "\n"),
		"hyphen for em dash":          "text\n\n- example.com/foo Uw2QOkn8\n",
		"no space after dash":         "text\n\n—example.com/foo Uw2QOkn8\n",
		"two spaces":                  "text\n\n—  example.com/foo Uw2QOkn8\n",
		"two spaces before signature": "text\n\n— example.com/foo  Uw2QOkn8\n",
		"trailing space":              "text\n\n— example.com/foo Uw2QOkn8 \n",
		"no name":                     "text\n\n—  Uw2QOkn8\n",
		"plus in name":                "text\n\n— a+b Uw2QOkn8\n",
		"no-break space in name":      "text\n\n— a\u00a0b Uw2QOkn8\n",
		"no signature":                "text\n\n— example.com/foo \n",
		"nothing after name":          "text\n\n— example.com/foo\n",
		"signature without padding":   "text\n\n— a Uw2QOkk\n",
		"signature with stray bits":   "text\n\n— a Uw2QOkl=\n",
		"signature of URL-safe":       "text\n\n— a Uw2QOk-_\n",
		"key ID alone":                "text\n\n— a Uw2QOg==\n",
		"three bytes":                 "text\n\n— a Uw2Q\n",
		"carriage return":             "text\r\n\r\n" + line,
		"carriage return at the end":  "text\n\n" + strings.TrimSuffix(line, "\n") + "\r\n",
		"tab in text":                 "te\txt\n\n" + line,
		"bad UTF-8":                   "te\xffxt\n\n" + line,
		"text between signatures":     "text\n\n" + line + "more\n" + line,
		"too many signatures":         "text\n\n" + strings.Repeat(line, checkpoint.MaxSignatures+1),
		"too long":                    strings.Repeat("x", checkpoint.MaxNote) + "\n\n" + line,
	} {
		if _, _, err := checkpoint.ParseNote([]byte(b)); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := note.Open([]byte(b), nil); err == nil {
			t.Errorf("%s: even x/mod accepts it", name)
		}
	}
	for name, b := range map[string]string{
		"empty":           "",
		"blank line":      "\n" + line,
		"no newline":      strings.TrimSuffix(line, "\n"),
		"checkpoint also": "text\n\n" + line,
	} {
		if _, err := checkpoint.ParseSignatureLines([]byte(b)); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("signature lines, %s: %v", name, err)
		}
	}
}

// "Verifiers MUST accept at least up to 16 signatures", each up to 5 kB.
func TestLargeNote(t *testing.T) {
	var lines [][]byte
	for i := range 16 {
		l := checkpoint.SignatureLine{Name: strings.Repeat("n", 300), KeyHash: uint32(i), Sig: make([]byte, 5000)}
		lines = append(lines, l.Line())
	}
	b := checkpoint.Join("some\n\ntext\n", lines...)
	text, sigs, err := checkpoint.ParseNote(b)
	if err != nil || text != "some\n\ntext\n" || len(sigs) != 16 {
		t.Fatalf("%q, %d signatures, %v", text, len(sigs), err)
	}
}

func algorithms() []checkpoint.Algorithm {
	return []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgCosignEd25519, checkpoint.AlgMLDSA44}
}

func foreignVerifier(t *testing.T, s *checkpoint.Signer) note.Verifier {
	t.Helper()
	if s.Algorithm() == checkpoint.AlgEd25519 {
		v, err := note.NewVerifier(s.VKey())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v, err := fnote.NewVerifierForCosignatureV1(s.VKey())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What we sign, x/mod and transparency-dev/formats verify.
func TestForeignersVerifyOurs(t *testing.T) {
	withExtension := sample
	withExtension.Extensions = []string{"an extension"}
	for _, c := range []checkpoint.Checkpoint{sample, withExtension, {Origin: "empty", Root: checkpoint.EmptyRoot}} {
		for _, alg := range algorithms() {
			s := newSigner(t, "signer.example/k", alg)
			b := sign(t, c.Text(), s)
			n, err := note.Open(b, note.VerifierList(foreignVerifier(t, s)))
			if err != nil || n.Text != c.Text() || len(n.Sigs) != 1 {
				t.Errorf("%s: %v", alg, err)
				continue
			}
			if alg.Timestamped() {
				at, err := fnote.CoSigV1Timestamp(n.Sigs[0])
				if err != nil || at.Unix() != unix {
					t.Errorf("%s: time %v, %v", alg, at, err)
				}
			}
		}
	}
}

// What they sign, we verify, from the same private keys.
func TestWeVerifyForeigners(t *testing.T) {
	for _, alg := range algorithms() {
		s := newSigner(t, "signer.example/k", alg)
		var foreign note.Signer
		var err error
		if alg == checkpoint.AlgEd25519 {
			foreign, err = note.NewSigner(s.SKey())
		} else {
			foreign, err = fnote.NewSignerForCosignatureV1(s.SKey())
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := note.Sign(&note.Note{Text: sample.Text()}, foreign)
		if err != nil {
			t.Fatal(err)
		}
		text, sigs, err := checkpoint.ParseNote(b)
		if err != nil {
			t.Fatal(err)
		}
		if good, err := checkpoint.Verify(text, sigs, s.Verifier()); err != nil || len(good) != 1 {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestForeignKeys(t *testing.T) {
	skey, vkey, err := fnote.GenerateMLDSAKey("w.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.ParseSKey(skey)
	if err != nil {
		t.Fatal(err)
	}
	if s.SKey() != skey || s.VKey() != vkey {
		t.Error("formats and we write an ML-DSA-44 key differently")
	}
}

func TestSubtree(t *testing.T) {
	s := newSigner(t, "w.example", checkpoint.AlgMLDSA44)
	root := tlog.RecordHash([]byte("subtree"))
	line, err := s.SignSubtree("log.example", 8, 13, root)
	if err != nil {
		t.Fatal(err)
	}
	sigs, err := checkpoint.ParseSignatureLines(line)
	if err != nil || len(sigs) != 1 || sigs[0].Timestamp() != 0 {
		t.Fatalf("%v, %v", sigs, err)
	}
	sig, v := sigs[0].Sig, s.Verifier()
	if !v.VerifySubtree(0, "log.example", 8, 13, root, sig) {
		t.Error("our own subtree signature does not verify")
	}
	foreign, err := fnote.NewMLDSAVerifier(s.VKey())
	if err != nil {
		t.Fatal(err)
	}
	if !foreign.VerifySubtree(0, "log.example", 8, 13, root[:], sig) {
		t.Error("formats does not verify our subtree signature")
	}
	late := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, sig[8:]...)
	for name, ok := range map[string]bool{
		"another origin":     v.VerifySubtree(0, "log.example2", 8, 13, root, sig),
		"another start":      v.VerifySubtree(0, "log.example", 9, 13, root, sig),
		"another end":        v.VerifySubtree(0, "log.example", 8, 14, root, sig),
		"another root":       v.VerifySubtree(0, "log.example", 8, 13, tlog.Hash{}, sig),
		"another time":       v.VerifySubtree(1, "log.example", 8, 13, root, late),
		"time bytes changed": v.VerifySubtree(0, "log.example", 8, 13, root, late),
		"time not its own":   v.VerifySubtree(1, "log.example", 8, 13, root, sig),
		"cut":                v.VerifySubtree(0, "log.example", 8, 13, root, sig[:len(sig)-1]),
		"no time":            v.VerifySubtree(0, "log.example", 8, 13, root, sig[:7]),
		"empty":              v.VerifySubtree(0, "log.example", 8, 13, root, nil),
		"Ed25519 key":        newSigner(t, "w.example", checkpoint.AlgCosignEd25519).Verifier().VerifySubtree(0, "log.example", 8, 13, root, sig),
		"long origin":        v.VerifySubtree(0, strings.Repeat("x", 256), 8, 13, root, sig),
	} {
		if ok {
			t.Errorf("%s: verified", name)
		}
	}
	if _, err := newSigner(t, "w.example", checkpoint.AlgCosignEd25519).SignSubtree("log.example", 8, 13, root); err == nil {
		t.Error("an Ed25519 key signed a subtree")
	}
	if _, err := s.SignSubtree("log.example", 13, 8, root); err == nil {
		t.Error("signed a subtree that ends before it starts")
	}
	if _, err := s.SignSubtree(strings.Repeat("x", 256), 8, 13, root); err == nil {
		t.Error("signed for an origin of 256 bytes")
	}
}

func TestSignRefuses(t *testing.T) {
	for _, alg := range algorithms() {
		s := newSigner(t, "k", alg)
		for name, text := range map[string]string{"not a checkpoint": "hello\n", "empty": "", "sloppy size": "o\n+1\n" + strings.Split(exampleCheckpoint, "\n")[2] + "\n"} {
			if _, err := s.Sign(text, unix); !errors.Is(err, checkpoint.ErrMalformed) {
				t.Errorf("%s signed %s: %v", alg, name, err)
			}
		}
		for _, at := range []int64{0, -1, math.MinInt64} {
			if _, err := s.Sign(sample.Text(), at); (err != nil) != alg.Timestamped() {
				t.Errorf("%s at time %d: %v", alg, at, err)
			}
		}
	}
}

func TestSignatureBytes(t *testing.T) {
	for _, alg := range algorithms() {
		s := newSigner(t, "k", alg)
		text := sample.Text()
		_, sigs, err := checkpoint.ParseNote(sign(t, text, s))
		if err != nil {
			t.Fatal(err)
		}
		sig := sigs[0].Sig
		// Every byte counts; of ML-DSA-44's 2,428 a sample will do.
		for i := 0; i < len(sig); i += 1 + len(sig)/100 {
			bad := bytes.Clone(sig)
			bad[i] ^= 1
			if s.Verifier().Verify([]byte(text), bad) {
				t.Errorf("%s: byte %d does not matter", alg, i)
			}
		}
		for _, bad := range [][]byte{nil, {}, sig[:len(sig)-1], append(bytes.Clone(sig), 0), sig[:8], sig[:7]} {
			if s.Verifier().Verify([]byte(text), bad) {
				t.Errorf("%s: %d bytes verify", alg, len(bad))
			}
		}
		again, _ := s.Sign(text, unix)
		if !bytes.Equal(again, sigs[0].Line()) {
			t.Errorf("%s: not deterministic", alg)
		}
		if alg.Timestamped() && sigs[0].Timestamp() != unix {
			t.Errorf("%s: time %d", alg, sigs[0].Timestamp())
		}
		// A time beyond 2^63 - 1 is refused whatever the signature.
		far := append([]byte{0x80, 0, 0, 0, 0, 0, 0, 0}, sig[min(8, len(sig)):]...)
		if s.Verifier().Verify([]byte(text), far) {
			t.Errorf("%s: verified with a time of 2^63", alg)
		}
	}
	if got := (checkpoint.SignatureLine{Sig: []byte{1, 2, 3}}).Timestamp(); got != -1 {
		t.Errorf("timestamp of three bytes: %d", got)
	}
}

func TestVerify(t *testing.T) {
	text := sample.Text()
	known, other := newSigner(t, "known", checkpoint.AlgEd25519), newSigner(t, "other", checkpoint.AlgCosignEd25519)
	_, sigs, err := checkpoint.ParseNote(sign(t, text, known, other))
	if err != nil {
		t.Fatal(err)
	}
	broken := sigs[0]
	broken.Sig = bytes.Clone(broken.Sig)
	broken.Sig[0] ^= 1
	sameName, sameID := sigs[0], sigs[0]
	sameName.KeyHash++
	sameID.Name = "unknown"
	sameName.Sig, sameID.Sig = broken.Sig, broken.Sig
	v, w := known.Verifier(), other.Verifier()
	type sl = []checkpoint.SignatureLine
	for name, c := range map[string]struct {
		sigs sl
		vs   []*checkpoint.Verifier
		good int
		err  error
	}{
		"both":                   {sigs, []*checkpoint.Verifier{v, w}, 2, nil},
		"one unknown":            {sigs, []*checkpoint.Verifier{v}, 1, nil},
		"key given twice":        {sigs, []*checkpoint.Verifier{v, v}, 1, nil},
		"no signature":           {nil, []*checkpoint.Verifier{v}, 0, checkpoint.ErrUnsigned},
		"no key":                 {sigs, nil, 0, checkpoint.ErrUnsigned},
		"only unknown":           {sigs[1:], []*checkpoint.Verifier{v}, 0, checkpoint.ErrUnsigned},
		"unknown with same name": {sl{sigs[0], sameName}, []*checkpoint.Verifier{v}, 1, nil},
		"unknown with same ID":   {sl{sameID, sigs[0]}, []*checkpoint.Verifier{v}, 1, nil},
		"only same name":         {sl{sameName}, []*checkpoint.Verifier{v}, 0, checkpoint.ErrUnsigned},
		"broken":                 {sl{broken}, []*checkpoint.Verifier{v}, 0, checkpoint.ErrBadSignature},
		"good, then broken":      {sl{sigs[0], broken}, []*checkpoint.Verifier{v}, 0, checkpoint.ErrBadSignature},
		"broken, then good":      {sl{broken, sigs[0]}, []*checkpoint.Verifier{v}, 0, checkpoint.ErrBadSignature},
		"broken beside another":  {sl{broken, sigs[1]}, []*checkpoint.Verifier{v, w}, 0, checkpoint.ErrBadSignature},
		"good twice":             {sl{sigs[0], sigs[0]}, []*checkpoint.Verifier{v}, 2, nil},
	} {
		good, err := checkpoint.Verify(text, c.sigs, c.vs...)
		if !errors.Is(err, c.err) || len(good) != c.good {
			t.Errorf("%s: %d good, %v", name, len(good), err)
		}
	}
}

// Two keys that claim the same signature lines are told apart by nothing, so
// that neither can be relied on.
func TestVerifyAmbiguousKeys(t *testing.T) {
	a, b := collision(t, checkpoint.AlgEd25519, checkpoint.AlgEd25519)
	v, err := checkpoint.ParseVKey(a)
	if err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.ParseVKey(b)
	if err != nil {
		t.Fatal(err)
	}
	line := checkpoint.SignatureLine{Name: v.Name(), KeyHash: v.KeyHash(), Sig: make([]byte, 64)}
	if _, err := checkpoint.Verify(sample.Text(), []checkpoint.SignatureLine{line}, v, w); err == nil || !strings.Contains(err.Error(), "two different keys") {
		t.Error(err)
	}
}

// The signed messages, written out from the sentences of tlog-cosignature and
// signed with the bare algorithms.
func TestMessagesFromTheText(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	ed := ed25519.NewKeyFromSeed(seed)
	pq, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		t.Fatal(err)
	}
	c := sample
	c.Extensions = []string{"x"}
	edMessage := func(time string) []byte { return []byte("cosignature/v1\ntime " + time + "\n" + c.Text()) }
	subtree := func(name, origin string, time, start, end uint64, root tlog.Hash) []byte {
		m := []byte("subtree/v1\n\x00" + string(rune(len(name))) + name)
		m = binary.BigEndian.AppendUint64(m, time)
		m = append(m, byte(len(origin)))
		m = append(m, origin...)
		m = binary.BigEndian.AppendUint64(m, start)
		m = binary.BigEndian.AppendUint64(m, end)
		return append(m, root[:]...)
	}
	stamp := func(time uint64, sig []byte) []byte { return append(binary.BigEndian.AppendUint64(nil, time), sig...) }
	signPQ := func(time uint64, m []byte) []byte {
		sig, err := pq.SignDeterministic(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		return stamp(time, sig)
	}
	edKey, err := checkpoint.ParseVKey(vkey(t, "w", append([]byte{4}, ed[32:]...)))
	if err != nil {
		t.Fatal(err)
	}
	pqKey, err := checkpoint.ParseVKey(vkey(t, "w", append([]byte{6}, pq.PublicKey().Bytes()...)))
	if err != nil {
		t.Fatal(err)
	}
	text, size := []byte(c.Text()), uint64(c.Size)
	ranged := func(time, start, end uint64) bool {
		sig := signPQ(time, subtree("w", c.Origin, time, start, end, c.Root))
		return pqKey.VerifySubtree(int64(time), c.Origin, int64(start), int64(end), c.Root, sig)
	}
	for name, k := range map[string]struct{ got, want bool }{
		"Ed25519":                      {edKey.Verify(text, stamp(unix, ed25519.Sign(ed, edMessage("1750000000")))), true},
		"Ed25519, time zero":           {edKey.Verify(text, stamp(0, ed25519.Sign(ed, edMessage("0")))), true},
		"Ed25519, time of 2^63":        {edKey.Verify(text, stamp(1<<63, ed25519.Sign(ed, edMessage("9223372036854775808")))), false},
		"Ed25519, time wrapped around": {edKey.Verify(text, stamp(1<<63, ed25519.Sign(ed, edMessage("-9223372036854775808")))), false},
		"ML-DSA-44":                    {pqKey.Verify(text, signPQ(unix, subtree("w", c.Origin, unix, 0, size, c.Root))), true},
		"ML-DSA-44, time zero":         {pqKey.Verify(text, signPQ(0, subtree("w", c.Origin, 0, 0, size, c.Root))), true},
		"ML-DSA-44, time of 2^63":      {pqKey.Verify(text, signPQ(1<<63, subtree("w", c.Origin, 1<<63, 0, size, c.Root))), false},
		"ML-DSA-44, another cosigner":  {pqKey.Verify(text, signPQ(unix, subtree("v", c.Origin, unix, 0, size, c.Root))), false},
		"subtree":                      {ranged(0, 8, 13), true},
		"subtree from zero, with time": {ranged(unix, 0, 8), true},
		// "If start is not zero, timestamp MUST be zero."
		"subtree with time":    {ranged(unix, 8, 13), false},
		"subtree going back":   {ranged(0, 13, 8), false},
		"subtree beyond int64": {ranged(0, 1<<63, 1<<63+1), false},
	} {
		if k.got != k.want {
			t.Errorf("%s: %v", name, k.got)
		}
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add([]byte(exampleNote))
	f.Add([]byte("a\n\nb\n\n— n AAAAAAA=\n— m AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, sigs, err := checkpoint.ParseNote(b)
		if err != nil {
			return
		}
		var lines [][]byte
		for _, s := range sigs {
			lines = append(lines, s.Line())
		}
		if again := checkpoint.Join(text, lines...); !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which is %q", b, again)
		}
		if _, err := note.Open(b, nil); len(sigs) <= 100 {
			var unverified *note.UnverifiedNoteError
			if !errors.As(err, &unverified) {
				t.Fatalf("x/mod refuses %q: %v", b, err)
			}
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(exampleCheckpoint)
	f.Add(exampleCheckpoint + "extension\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := checkpoint.Parse(text); err == nil && c.Text() != text {
			t.Fatalf("accepted %q, which is %q", text, c.Text())
		}
	})
}
