package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

const monitorSentence = `The response body MUST be a checkpoint for the log identified by the origin, and it MUST include the cosignature(s) from the witness's key(s) that were returned from add-checkpoint and the cosignature from the log key(s) that the witness verified.`

func (r *runner) monitor(l *Log) (*answer, error) {
	sum := sha256.Sum256([]byte(l.Origin))
	return r.do(http.MethodGet, r.MonitoringURL+"/"+hex.EncodeToString(sum[:])+"/checkpoint", nil)
}

// monitored returns the note the witness serves for a log, or a reason to skip.
func (r *runner) monitored(l *Log) (text string, sigs []checkpoint.SignatureLine, err error) {
	a, err := r.monitor(l)
	if err != nil {
		return "", nil, err
	}
	if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed {
		return "", nil, skipError(fmt.Sprintf("the witness serves no checkpoint at its monitoring prefix: %v", a))
	}
	if err := want(a, http.StatusOK); err != nil {
		return "", nil, err
	}
	return checkpoint.ParseNote(a.body)
}

var monitorChecks = []check{
	{"monitor", Should, witnessSpec, `A witness SHOULD serve a recent checkpoint for each log it cosigned.`,
		func(r *runner) error {
			a, err := r.monitor(r.Keys.Main)
			if err != nil {
				return err
			}
			return want(a, http.StatusOK)
		}},
	{"monitor-checkpoint", Must, witnessSpec, monitorSentence,
		func(r *runner) error {
			text, sigs, err := r.monitored(r.Keys.Main)
			if err != nil {
				return err
			}
			cp, err := checkpoint.Parse(text)
			if err != nil {
				return err
			}
			if cp.Origin != r.Keys.Main.Origin {
				return fmt.Errorf("it is of origin %q", cp.Origin)
			}
			if _, err := checkpoint.Verify(text, sigs, r.Keys.Main.Signers[0].Verifier()); err != nil {
				return fmt.Errorf("the log's signature: %w", err)
			}
			for _, v := range r.Witness {
				if _, err := checkpoint.Verify(text, sigs, v); err != nil {
					return fmt.Errorf("the witness's cosignature %s: %w", v, err)
				}
			}
			return nil
		}},
	{"monitor-all-log-keys", Must, witnessSpec, monitorSentence,
		func(r *runner) error {
			text, sigs, err := r.monitored(r.Keys.Two)
			if err != nil {
				return err
			}
			for _, s := range r.Keys.Two.Signers {
				if _, err := checkpoint.Verify(text, sigs, s.Verifier()); err != nil {
					return fmt.Errorf("the log's signature %s: %w", s.Verifier(), err)
				}
			}
			return nil
		}},
	{"monitor-get-only", Must, witnessSpec, `The request MUST be an HTTP GET.`,
		func(r *runner) error {
			sum := sha256.Sum256([]byte(r.Keys.Main.Origin))
			a, err := r.do(http.MethodPost, r.MonitoringURL+"/"+hex.EncodeToString(sum[:])+"/checkpoint", strings.NewReader(""))
			if err != nil {
				return err
			}
			if a.status < 400 || a.status > 499 {
				return fmt.Errorf("POST answered %v", a)
			}
			return nil
		}},
	{"monitor-lowercase", Must, witnessSpec, `The origin hash is the SHA-256 hash of the log's origin, hex encoded, in lowercase.`,
		func(r *runner) error {
			sum := sha256.Sum256([]byte(r.Keys.Main.Origin))
			a, err := r.do(http.MethodGet, r.MonitoringURL+"/"+strings.ToUpper(hex.EncodeToString(sum[:]))+"/checkpoint", nil)
			if err != nil {
				return err
			}
			return want(a, http.StatusNotFound)
		}},
}

// reference returns the size of a checkpoint that the witness has cosigned, and its
// note with the witness's lines, or a reason to skip: sign-subtree is optional.
func (r *runner) reference() (int64, string, error) {
	ok := false
	for _, v := range r.Witness {
		ok = ok || v.Algorithm() == checkpoint.AlgMLDSA44
	}
	if !ok {
		return 0, "", skipError("sign-subtree needs a witness key of a type that can sign subtrees (ML-DSA-44)")
	}
	a, err := r.post("/sign-subtree", "")
	if err != nil {
		return 0, "", err
	}
	if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusNotImplemented {
		return 0, "", skipError("It is OPTIONAL for a witness to support this API, and this one does not")
	}
	l := r.Keys.Main
	n := max(1, 14-r.known[l]) // so that there are subtrees worth signing
	lines, cp, err := r.advance(l, n, l.Honest().Note)
	if err != nil {
		return 0, "", err
	}
	var own [][]byte
	for _, line := range lines {
		own = append(own, line.Line())
	}
	return cp.Size, string(checkpoint.Join(cp.Text(), own...)), nil
}

// signs checks that a subtree is signed as it must be.
func (r *runner) signs(start, end, size int64, note string) error {
	v := r.Keys.Main.Honest()
	hash := v.Hash(start, end)
	a, err := r.post("/sign-subtree", SubtreeBody(start, end, hash, v.SubtreeProof(start, end, size), note))
	if err != nil {
		return err
	}
	if err := want(a, http.StatusOK); err != nil {
		return fmt.Errorf("[%d, %d) of %d: %w", start, end, size, err)
	}
	lines, err := checkpoint.ParseSignatureLines(a.body)
	if err != nil {
		return err
	}
	for _, l := range lines {
		w := r.verifier(l)
		if w == nil || !w.VerifySubtree(0, v.log.Origin, start, end, hash, l.Sig) {
			return fmt.Errorf("[%d, %d) of %d: the line of %s is not a cosignature of the subtree with time zero (it says time %d)", start, end, size, l.Name, l.Timestamp())
		}
	}
	return nil
}

const subtreeBad = `The half-open interval [start, end) MUST be a valid subtree … and end MUST be less than or equal to the checkpoint size. If the request is invalid according to the rules above, the witness MUST respond with a "400 Bad Request" HTTP status code.`

// refusesSubtree sends the request for [8, 13), changed, and demands a status.
func refusesSubtree(change func(r *runner, size int64, note string) string, statuses ...int) func(*runner) error {
	return func(r *runner) error {
		size, note, err := r.reference()
		if err != nil {
			return err
		}
		a, err := r.post("/sign-subtree", change(r, size, note))
		if err != nil {
			return err
		}
		return want(a, statuses...)
	}
}

// honestSubtree is a request that a witness must answer with 200.
func honestSubtree(r *runner, size int64, note string) string {
	v := r.Keys.Main.Honest()
	return SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, size), note)
}

func rangeLine(line string) func(*runner, int64, string) string {
	return func(r *runner, size int64, note string) string {
		_, rest, _ := strings.Cut(honestSubtree(r, size, note), "\n")
		return line + "\n" + rest
	}
}

var subtreeChecks = subtrees()

func subtrees() []check {
	const (
		okSentence = `If the request is valid, the consistency proof verifies, and the checkpoint is validly signed by the witness, the witness MUST respond with a "200 Success" HTTP status code.`
		rangeIs    = "The subtree range line MUST consist of the string `subtree`, a single space (0x20), the subtree start encoded as an ASCII decimal with no leading zeroes …, a single space (0x20), and the subtree end encoded as an ASCII decimal with no leading zeroes. … 400"
		badProof   = `If the Merkle Consistency Proof doesn't verify, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.`
		unsigned   = `The witness MUST verify that the checkpoint includes a valid cosignature from one of its own keys. If the witness can't verify the checkpoint, it MUST respond with a "403 Forbidden" HTTP status code.`
	)
	checks := []check{
		{"subtree", Must, witnessSpec, okSentence + ` … If the cosignature format supports timestamps, the timestamp MUST be zero.`,
			func(r *runner) error {
				size, note, err := r.reference()
				if err != nil {
					return err
				}
				for _, s := range [][2]int64{{8, 13}, {0, 8}, {4, 8}, {12, 13}, {0, size}, {0, 5}, {size - 1, size}} {
					if err := r.signs(s[0], s[1], size, note); err != nil {
						return err
					}
				}
				return nil
			}},
		{"subtree-any-own-key", Must, witnessSpec, unsigned + ` [any one of its keys is enough]`,
			func(r *runner) error {
				size, note, err := r.reference()
				if err != nil {
					return err
				}
				text, sigs, err := checkpoint.ParseNote([]byte(note))
				if err != nil {
					return err
				}
				for _, l := range sigs {
					if err := r.signs(8, 13, size, string(checkpoint.Join(text, l.Line()))); err != nil {
						return fmt.Errorf("with key %s+%08x alone: %w", l.Name, l.KeyHash, err)
					}
				}
				return nil
			}},
		{"subtree-post-only", Must, witnessSpec, `The request MUST be an HTTP POST.`,
			func(r *runner) error {
				if _, _, err := r.reference(); err != nil {
					return err
				}
				a, err := r.do(http.MethodGet, r.URL+"/sign-subtree", nil)
				if err != nil {
					return err
				}
				if a.status < 400 || a.status > 499 {
					return fmt.Errorf("GET answered %v", a)
				}
				return nil
			}},
		{"subtree-unknown-origin", Must, witnessSpec,
			`If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP status code. [it is not signed by the witness either, so 403 is right too]`,
			refusesSubtree(func(r *runner, _ int64, _ string) string {
				l := NewLog(stranger("stranger.example/log"))
				v := l.Honest()
				return SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, 14), v.Note(14))
			}, http.StatusNotFound, http.StatusForbidden)},
		{"subtree-log-signature-only", Must, witnessSpec, unsigned,
			refusesSubtree(func(r *runner, size int64, _ string) string {
				return honestSubtree(r, size, r.Keys.Main.Honest().Note(size))
			}, http.StatusForbidden)},
		{"subtree-other-checkpoint", Must, witnessSpec, unsigned,
			refusesSubtree(func(r *runner, size int64, note string) string {
				// The witness's lines under a checkpoint they are not of.
				v := r.Keys.Main.Forked()
				_, lines, _ := strings.Cut(note, "\n\n")
				return SubtreeBody(8, 13, v.Hash(8, 13), v.SubtreeProof(8, 13, size), v.Checkpoint(size).Text()+"\n"+lines)
			}, http.StatusForbidden)},
		{"subtree-wrong-hash", Must, witnessSpec, badProof,
			refusesSubtree(func(r *runner, size int64, note string) string {
				v := r.Keys.Main.Honest()
				return SubtreeBody(8, 13, v.Hash(8, 12), v.SubtreeProof(8, 13, size), note)
			}, http.StatusUnprocessableEntity)},
		{"subtree-no-proof", Must, witnessSpec, badProof,
			refusesSubtree(func(r *runner, size int64, note string) string {
				return SubtreeBody(8, 13, r.Keys.Main.Honest().Hash(8, 13), nil, note)
			}, http.StatusUnprocessableEntity)},
		{"subtree-long-proof", Must, witnessSpec, badProof,
			refusesSubtree(func(r *runner, size int64, note string) string {
				v := r.Keys.Main.Honest()
				return SubtreeBody(8, 13, v.Hash(8, 13), append(v.SubtreeProof(8, 13, size), tlog.Hash{}), note)
			}, http.StatusUnprocessableEntity)},
		{"subtree-64-proof-lines", Must, witnessSpec, `The client MUST NOT send more than 63 consistency proof lines. … 400`,
			refusesSubtree(func(r *runner, size int64, note string) string {
				return SubtreeBody(8, 13, r.Keys.Main.Honest().Hash(8, 13), repeated(tlog.Hash{}, 64), note)
			}, http.StatusBadRequest)},
		{"subtree-no-hash", Must, witnessSpec, `The subtree hash line MUST be the Merkle Tree hash of the subtree encoded in base64. … 400`,
			refusesSubtree(func(r *runner, size int64, note string) string { return "subtree 8 13\n\n" + note }, http.StatusBadRequest)},
		{"subtree-beyond-tree", Must, witnessSpec, subtreeBad,
			refusesSubtree(func(r *runner, size int64, note string) string {
				return SubtreeBody(0, size+1, tlog.Hash{}, nil, note)
			}, http.StatusBadRequest)},
	}
	for _, c := range []struct{ id, sentence, line string }{
		{"subtree-not-aligned", subtreeBad, "subtree 7 13"},
		{"subtree-backwards", subtreeBad, "subtree 13 8"},
		{"subtree-empty", subtreeBad, "subtree 8 8"},
		{"subtree-leading-zero-start", rangeIs, "subtree 08 13"},
		{"subtree-leading-zero-end", rangeIs, "subtree 8 013"},
		{"subtree-two-spaces", rangeIs, "subtree 8  13"},
		{"subtree-trailing-space", rangeIs, "subtree 8 13 "},
		{"subtree-plus", rangeIs, "subtree +8 13"},
		{"subtree-minus", rangeIs, "subtree -8 13"},
		{"subtree-no-end", rangeIs, "subtree 8"},
		{"subtree-carriage-return", rangeIs, "subtree 8 13\r"},
		{"subtree-upper-case", rangeIs, "SUBTREE 8 13"},
	} {
		checks = append(checks, check{c.id, Must, witnessSpec, c.sentence, refusesSubtree(rangeLine(c.line), http.StatusBadRequest)})
	}
	return checks
}
