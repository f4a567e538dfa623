package conformance

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// stranger returns a signer no witness knows.
func stranger(name string) *checkpoint.Signer {
	s, err := checkpoint.GenerateSigner(name, checkpoint.AlgEd25519, rand.Reader)
	if err != nil {
		panic(err) // only the system's randomness can fail here
	}
	return s
}

// broken returns a signature line of s that does not verify.
func broken(s *checkpoint.Signer, text string) []byte {
	lines, err := checkpoint.ParseSignatureLines(sign(s, text))
	if err != nil {
		panic(err) // it was made a line ago
	}
	lines[0].Sig[len(lines[0].Sig)-1] ^= 1
	return lines[0].Line()
}

// noted makes a note for the next size of the main log from a text.
func noted(l *Log, lines func(text string) [][]byte) func(int64) string {
	return func(size int64) string {
		text := l.Honest().Checkpoint(size).Text()
		return string(checkpoint.Join(text, lines(text)...))
	}
}

const unknownSentence = `it MUST ignore signatures from unknown keys`

const forbiddenSentence = `The witness MUST respond with a "403 Forbidden" HTTP status code if either no signature from a trusted key for the origin is present, or a signature line's key name and ID match a trusted key but the signature itself fails to verify`

// refusesNote checks that a note for the next size is answered with 403, and nothing changes.
func refusesNote(get func(*Keys) *Log, lines func(l *Log, text string) [][]byte) func(*runner) error {
	return func(r *runner) error {
		l := get(r.Keys)
		from := r.known[l]
		l.Grow(from + 1)
		note := noted(l, func(text string) [][]byte { return lines(l, text) })(from + 1)
		if err := r.expect(AddBody(from, l.Honest().Proof(from, from+1), note), http.StatusForbidden); err != nil {
			return err
		}
		return r.remembers(l)
	}
}

func mainLog(k *Keys) *Log { return k.Main }
func twoLog(k *Keys) *Log  { return k.Two }

var signatureChecks = []check{
	{"unknown-signatures", Must, witnessSpec, unknownSentence,
		func(r *runner) error {
			l := r.Keys.Main
			_, _, err := r.advance(l, 1, noted(l, func(text string) [][]byte {
				return [][]byte{sign(stranger("stranger.example"), text), sign(l.Signers[0], text), broken(stranger("other.example"), text)}
			}))
			return err
		}},
	{"unknown-signatures-like-known", Must, noteSpec,
		`Verifiers MUST ignore signatures from unknown keys, even if they share a name or ID (but not both) with a known key.`,
		func(r *runner) error {
			l := r.Keys.Main
			v := l.Signers[0].Verifier()
			_, _, err := r.advance(l, 1, noted(l, func(text string) [][]byte {
				sameID := checkpoint.SignatureLine{Name: "stranger.example", KeyHash: v.KeyHash(), Sig: bytes.Repeat([]byte{1}, 64)}
				return [][]byte{sign(stranger(l.Origin), text), sameID.Line(), sign(l.Signers[0], text)}
			}))
			return err
		}},
	{"sixteen-signatures", Must, noteSpec,
		`Verifiers … MUST accept at least up to 16 signatures. Remember that post-quantum signatures can be up to nearly 5kB in size.`,
		func(r *runner) error {
			l := r.Keys.Main
			_, _, err := r.advance(l, 1, noted(l, func(text string) [][]byte {
				lines := [][]byte{}
				for i := range 15 {
					big := checkpoint.SignatureLine{Name: fmt.Sprintf("stranger.example/%d", i), KeyHash: uint32(i + 1), Sig: bytes.Repeat([]byte{byte(i)}, 4900)}
					lines = append(lines, big.Line())
				}
				return append(lines, sign(l.Signers[0], text))
			}))
			return err
		}},
	{"either-key", Must, witnessSpec,
		`The witness MUST verify the checkpoint signature against the public key(s) it trusts for the checkpoint origin [one of two trusted keys is enough]`,
		func(r *runner) error {
			l := r.Keys.Two
			for _, s := range l.Signers {
				if _, _, err := r.advance(l, 1, noted(l, func(text string) [][]byte { return [][]byte{sign(s, text)} })); err != nil {
					return err
				}
			}
			_, _, err := r.advance(l, 1, l.Honest().Note)
			return err
		}},
	{"unknown-origin", Must, witnessSpec,
		`If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP status code.`,
		func(r *runner) error {
			l := NewLog(stranger("stranger.example/log"))
			if err := r.expect(l.Honest().Request(0, 5), http.StatusNotFound); err != nil {
				return err
			}
			// A trusted key of another log is no help.
			text := l.Honest().Checkpoint(5).Text()
			return r.expect(AddBody(0, nil, r.Keys.Main.Sign(text)), http.StatusNotFound)
		}},
	{"no-trusted-signature", Must, witnessSpec, forbiddenSentence,
		refusesNote(mainLog, func(l *Log, text string) [][]byte {
			return [][]byte{sign(stranger(l.Origin), text), sign(stranger("stranger.example"), text)}
		})},
	{"key-of-another-log", Must, witnessSpec, forbiddenSentence,
		func(r *runner) error {
			return refusesNote(mainLog, func(l *Log, text string) [][]byte {
				return [][]byte{sign(r.Keys.Two.Signers[0], text)}
			})(r)
		}},
	{"broken-signature", Must, witnessSpec, forbiddenSentence,
		refusesNote(mainLog, func(l *Log, text string) [][]byte {
			return [][]byte{broken(l.Signers[0], text)}
		})},
	{"short-signature", Must, witnessSpec, forbiddenSentence,
		refusesNote(mainLog, func(l *Log, text string) [][]byte {
			v := l.Signers[0].Verifier()
			return [][]byte{checkpoint.SignatureLine{Name: v.Name(), KeyHash: v.KeyHash(), Sig: []byte("short")}.Line()}
		})},
	{"broken-beside-good", Must, witnessSpec, forbiddenSentence,
		refusesNote(twoLog, func(l *Log, text string) [][]byte {
			return [][]byte{sign(l.Signers[0], text), broken(l.Signers[1], text)}
		})},
	{"broken-after-good", Must, witnessSpec, forbiddenSentence,
		refusesNote(mainLog, func(l *Log, text string) [][]byte {
			return [][]byte{sign(l.Signers[0], text), broken(l.Signers[0], text)}
		})},
	{"log-with-mldsa-key", Must, "https://c2sp.org/tlog-checkpoint",
		`Logs SHOULD use ML-DSA-44 cosignatures to sign the checkpoint`,
		func(r *runner) error {
			if err := r.learn(r.Keys.MLDSA); err != nil {
				return skipError(fmt.Sprintf("the witness was not configured with the ML-DSA-44 log, or does not take it: %v", err))
			}
			if _, _, err := r.advance(r.Keys.MLDSA, 1, r.Keys.MLDSA.Honest().Note); err != nil {
				return err
			}
			return refusesNote(func(k *Keys) *Log { return k.MLDSA }, func(l *Log, text string) [][]byte {
				return [][]byte{broken(l.Signers[0], text)}
			})(r)
		}},
	{"long-origin", Must, cosignatureSpec, `opaque log_origin<1..2^8-1> [an origin of 255 bytes]`,
		func(r *runner) error {
			if err := r.learn(r.Keys.Long); err != nil {
				return err
			}
			lines, cp, err := r.advance(r.Keys.Long, 1, r.Keys.Long.Honest().Note)
			if err != nil {
				return err
			}
			_, err = checkpoint.Verify(cp.Text(), lines, r.Witness...)
			return err
		}},
}

var orderChecks = []check{
	{"old-larger-than-size", Must, witnessSpec,
		`The old size MUST be equal to or lower than the checkpoint size. Otherwise, the witness MUST respond with a "400 Bad Request" HTTP status code.`,
		func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			for _, c := range []struct{ old, size int64 }{{size, size - 1}, {size + 5, size + 1}, {size, 0}, {1<<63 - 1, size}} {
				if err := r.expect(AddBody(c.old, nil, l.Honest().Note(c.size)), http.StatusBadRequest); err != nil {
					return fmt.Errorf("old %d, size %d, known %d: %w", c.old, c.size, size, err)
				}
			}
			return r.remembers(l)
		}},
	{"conflict", Must, witnessSpec,
		`If it doesn't match, the witness MUST respond with a "409 Conflict" HTTP status code. The response body MUST consist of the tree size of the latest cosigned checkpoint in decimal, followed by a newline (U+000A).`,
		func(r *runner) error {
			return r.conflicts(func(a *answer) error { return conflict(a, r.known[r.Keys.Main]) })
		}},
	{"conflict-content-type", Must, witnessSpec, "The response MUST have a `Content-Type` of `text/x.tlog.size`.",
		func(r *runner) error {
			return r.conflicts(func(a *answer) error {
				if got := a.header.Get("Content-Type"); got != "text/x.tlog.size" {
					return fmt.Errorf("Content-Type is %q", got)
				}
				return want(a, http.StatusConflict)
			})
		}},
	{"conflict-needs-signature", Must, witnessSpec,
		`The witness MUST verify the checkpoint signature against the public key(s) it trusts [before it compares sizes]`,
		func(r *runner) error {
			l := r.Keys.Main
			text := l.Honest().Checkpoint(r.known[l]).Text()
			return r.expect(AddBody(0, nil, string(checkpoint.Join(text, broken(l.Signers[0], text)))), http.StatusForbidden)
		}},
}

// conflicts makes requests whose old size is not the known one.
func (r *runner) conflicts(ok func(*answer) error) error {
	l := r.Keys.Main
	size := r.known[l]
	l.Grow(size + 5)
	for _, c := range []struct{ old, size int64 }{{0, size}, {size - 1, size + 1}, {size + 1, size + 5}, {0, 0}} {
		a, err := r.add(l.Honest().Request(c.old, c.size))
		if err != nil {
			return err
		}
		if err := ok(a); err != nil {
			return fmt.Errorf("old %d, size %d, known %d: %w", c.old, c.size, size, err)
		}
	}
	return nil
}

const proofSentence = `if a Merkle Consistency Proof doesn't verify, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.`

// refusesProof checks that the proof of an honest step, changed, is refused with 422 and changes nothing.
func refusesProof(change func(v View, proof []tlog.Hash) []tlog.Hash) func(*runner) error {
	return func(r *runner) error {
		l := r.Keys.Main
		from := r.known[l]
		if from%2 == 0 { // an odd size, so that the proof has several hashes
			if _, _, err := r.advance(l, 1, l.Honest().Note); err != nil {
				return err
			}
			from = r.known[l]
		}
		l.Grow(from + 6)
		v := l.Honest()
		body := AddBody(from, change(v, v.Proof(from, from+6)), v.Note(from+6))
		if err := r.expect(body, http.StatusUnprocessableEntity); err != nil {
			return err
		}
		return r.remembers(l)
	}
}

var proofChecks = []check{
	{"no-proof", Must, witnessSpec, proofSentence,
		refusesProof(func(View, []tlog.Hash) []tlog.Hash { return nil })},
	{"wrong-proof", Must, witnessSpec, proofSentence,
		refusesProof(func(_ View, p []tlog.Hash) []tlog.Hash { p[0][0] ^= 1; return p })},
	{"truncated-proof", Must, witnessSpec, proofSentence,
		refusesProof(func(_ View, p []tlog.Hash) []tlog.Hash { return p[:len(p)-1] })},
	{"extended-proof", Must, witnessSpec, proofSentence,
		refusesProof(func(v View, p []tlog.Hash) []tlog.Hash { return append(p, v.Hash(0, 1)) })},
	{"longest-proof", Must, witnessSpec,
		`The client MUST NOT send more than 63 consistency proof lines. [63 are well formed, so a wrong proof of 63 is 422]`,
		refusesProof(func(v View, _ []tlog.Hash) []tlog.Hash { return repeated(v.Hash(0, 1), 63) })},
	{"fork", Must, witnessSpec, proofSentence,
		func(r *runner) error {
			l := r.Keys.Main
			from := r.known[l]
			l.Grow(from + 4)
			if err := r.expect(l.Forked().Request(from, from+4), http.StatusUnprocessableEntity); err != nil {
				return err
			}
			return r.remembers(l)
		}},
	{"fork-of-same-size", Must, witnessSpec,
		`If the old size matches the checkpoint size, the witness MUST check that the root hashes are also identical. If they don't match, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.`,
		func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			if err := r.expect(l.Forked().Request(size, size), http.StatusUnprocessableEntity); err != nil {
				return err
			}
			return r.remembers(l)
		}},
	{"proof-of-same-size", Must, witnessSpec,
		`the consistency proof lines MUST encode a Merkle Consistency Proof from the old size to the checkpoint size according to RFC 6962, Section 2.1.2. [of equal sizes it is empty]`,
		func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			return r.expect(AddBody(size, []tlog.Hash{l.Honest().Hash(0, size)}, l.Honest().Note(size)), http.StatusUnprocessableEntity)
		}},
}

func repeated(h tlog.Hash, n int) []tlog.Hash {
	var out []tlog.Hash
	for range n {
		out = append(out, h)
	}
	return out
}

// formatChecks send requests that are not written as the specification
// demands. No sentence names their status, so any answer of the 4xx class that
// has no other meaning passes.
var formatChecks = formats()

func formats() []check {
	const (
		oldLine  = "The old size line MUST consist of the string `old`, a single space (0x20), and the tree size of the previous checkpoint encoded as an ASCII decimal with no leading zeroes (unless the size is zero, in which case the encoding MUST be `0`)."
		hashLine = `Each consistency proof line MUST encode a single hash in base64.`
		lineEnds = `Each line MUST terminate in a newline character (U+000A).`
		bodyIs   = `The request body MUST be a sequence of an old size line, zero or more consistency proof lines, and an empty line, followed by a checkpoint.`
		noteIs   = `Signed notes MUST be valid UTF-8 and MUST NOT contain any ASCII control characters (those below U+0020) other than newline.`
		textIs   = `The second line is the tree size, the ASCII decimal representation of the number of leaves in the tree, with no leading zeroes … The third line is the root hash, the base64 encoding …`
		extIs    = `Extension lines, if any, MUST be non-empty.`
	)
	old := func(f string) func(string, int64) string {
		return func(body string, size int64) string {
			_, rest, _ := strings.Cut(body, "\n")
			return fmt.Sprintf(f, size) + rest
		}
	}
	// In all of these the request without the change would be an honest one.
	cases := []struct {
		id, source, sentence string
		change               func(body string, size int64) string
	}{
		{"old-leading-zero", witnessSpec, oldLine, old("old 0%d\n")},
		{"old-plus", witnessSpec, oldLine, old("old +%d\n")},
		{"old-minus", witnessSpec, oldLine, old("old -%d\n")},
		{"old-two-spaces", witnessSpec, oldLine, old("old  %d\n")},
		{"old-tab", witnessSpec, oldLine, old("old\t%d\n")},
		{"old-trailing-space", witnessSpec, oldLine, old("old %d \n")},
		{"old-upper-case", witnessSpec, oldLine, old("OLD %d\n")},
		{"old-hexadecimal", witnessSpec, oldLine, old("old 0x%x\n")},
		{"old-fraction", witnessSpec, oldLine, old("old %d.0\n")},
		{"old-huge", witnessSpec, oldLine, old("old 9999999999999999999%d\n")},
		{"old-no-number", witnessSpec, oldLine, func(body string, _ int64) string {
			_, rest, _ := strings.Cut(body, "\n")
			return "old \n" + rest
		}},
		{"old-missing", witnessSpec, bodyIs, func(body string, _ int64) string { _, rest, _ := strings.Cut(body, "\n"); return rest }},
		{"carriage-returns", witnessSpec, lineEnds, func(body string, _ int64) string { return strings.ReplaceAll(body, "\n", "\r\n") }},
		{"carriage-return-old", witnessSpec, lineEnds, func(body string, _ int64) string { return strings.Replace(body, "\n", "\r\n", 1) }},
		{"no-last-newline", witnessSpec, lineEnds, func(body string, _ int64) string { return strings.TrimSuffix(body, "\n") }},
		{"no-empty-line", witnessSpec, bodyIs, func(body string, _ int64) string { return strings.Replace(body, "\n\n", "\n", 1) }},
		{"empty-body", witnessSpec, bodyIs, func(string, int64) string { return "" }},
		{"binary-body", witnessSpec, bodyIs, func(string, int64) string { return "\x00\xff\xfe\x01\n\n\x80" }},
		{"no-checkpoint", witnessSpec, bodyIs, func(body string, _ int64) string { h, _, _ := strings.Cut(body, "\n\n"); return h + "\n\n" }},
		{"short-hash", witnessSpec, hashLine, proofLine("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")},
		{"long-hash", witnessSpec, hashLine, proofLine("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")},
		{"hash-without-padding", witnessSpec, hashLine, proofLine("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")},
		{"hash-url-alphabet", witnessSpec, hashLine, proofLine("____AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")},
		{"hash-with-space", witnessSpec, hashLine, proofLine(" AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")},
		{"hash-hexadecimal", witnessSpec, hashLine, proofLine(strings.Repeat("00", 32))},
		{"64-proof-lines", witnessSpec, `The client MUST NOT send more than 63 consistency proof lines.`, func(body string, _ int64) string {
			first, rest, _ := strings.Cut(body, "\n")
			return first + "\n" + hashLines(repeated(tlog.Hash{}, 64)) + "\n" + rest[strings.Index(rest, "\n\n")+2:]
		}},
		{"note-control-character", noteSpec, noteIs, func(body string, _ int64) string {
			return strings.Replace(body, "\n— ", "\n— x\x01y AAAAAAAA\n— ", 1)
		}},
		{"note-not-utf8", noteSpec, noteIs, func(body string, _ int64) string {
			return strings.Replace(body, "\n— ", "\n— x\xffy AAAAAAAA\n— ", 1)
		}},
	}
	var checks []check
	for _, c := range cases {
		checks = append(checks, check{c.id, Must, c.source, c.sentence, func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			l.Grow(size + 3)
			return r.malformed(c.change(l.Honest().Request(size, size+3), size))
		}})
	}
	// Decoders may be lenient here, so it is no more than a SHOULD.
	checks = append(checks, check{"hash-not-canonical", Should, "https://www.rfc-editor.org/rfc/rfc4648#section-3.5",
		`These pad bits MUST be set to zero by conforming encoders … decoders MAY choose to reject an encoding if the pad bits have not been set to zero.`,
		func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			l.Grow(size + 3)
			return r.malformed(nonCanonical(l.Honest().Request(size, size+3)))
		}})
	// These are signed as they are, so only the text's form is wrong.
	texts := []struct {
		id, sentence string
		text         func(cp checkpoint.Checkpoint) string
	}{
		{"checkpoint-size-leading-zero", textIs, func(cp checkpoint.Checkpoint) string {
			return fmt.Sprintf("%s\n0%d\n%s\n", cp.Origin, cp.Size, encode(cp.Root))
		}},
		{"checkpoint-size-plus", textIs, func(cp checkpoint.Checkpoint) string {
			return fmt.Sprintf("%s\n+%d\n%s\n", cp.Origin, cp.Size, encode(cp.Root))
		}},
		{"checkpoint-size-negative", textIs, func(cp checkpoint.Checkpoint) string {
			return fmt.Sprintf("%s\n-%d\n%s\n", cp.Origin, cp.Size, encode(cp.Root))
		}},
		{"checkpoint-short-root", textIs, func(cp checkpoint.Checkpoint) string {
			return fmt.Sprintf("%s\n%d\n%s\n", cp.Origin, cp.Size, encode(cp.Root)[:40])
		}},
		{"checkpoint-two-lines", textIs, func(cp checkpoint.Checkpoint) string { return fmt.Sprintf("%s\n%d\n", cp.Origin, cp.Size) }},
		{"checkpoint-empty-extension", extIs, func(cp checkpoint.Checkpoint) string { return cp.Text() + "\nextension\n" }},
	}
	for _, c := range texts {
		checks = append(checks, check{c.id, Must, "https://c2sp.org/tlog-checkpoint", c.sentence, func(r *runner) error {
			l := r.Keys.Main
			size := r.known[l]
			l.Grow(size + 3)
			text := c.text(l.Honest().Checkpoint(size + 3))
			note := string(checkpoint.Join(text, rawSign(l.Signers[0], text)))
			return r.malformed(AddBody(size, l.Honest().Proof(size, size+3), note))
		}})
	}
	checks = append(checks, check{"oversized-body", Must, witnessSpec, bodyIs + " [4 MB of it: the witness must survive]", func(r *runner) error {
		// A server may cut the connection while the client still sends, so no answer at all is no failure.
		a, err := r.add(strings.Repeat("old 1\n", 4<<20/6))
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err == nil && (a.status < 400 || a.status > 499) {
			return fmt.Errorf("answered %v, want 4xx", a)
		}
		return r.remembers(r.Keys.Main)
	}})
	return checks
}

// nonCanonical writes the first hash of a request with pad bits that are not
// zero, so that a lenient decoder reads the same hash.
func nonCanonical(body string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.Index(body, "=\n") - 1
	return body[:i] + string(alphabet[strings.IndexByte(alphabet, body[i])|1]) + body[i+1:]
}

// proofLine puts one more line in front of the proof.
func proofLine(line string) func(string, int64) string {
	return func(body string, _ int64) string {
		first, rest, _ := strings.Cut(body, "\n")
		return first + "\n" + line + "\n" + rest
	}
}

// malformed demands a 4xx answer without another meaning, and that nothing changes.
func (r *runner) malformed(body string) error {
	a, err := r.add(body)
	if err != nil {
		return err
	}
	if a.status < 400 || a.status > 499 || a.status == http.StatusConflict {
		return fmt.Errorf("answered %v, want 400", a)
	}
	return r.remembers(r.Keys.Main)
}
