package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/checkpoint"
)

const (
	witnessSpec     = "https://c2sp.org/tlog-witness"
	cosignatureSpec = "https://c2sp.org/tlog-cosignature"
	noteSpec        = "https://c2sp.org/signed-note"
)

func allChecks() []check {
	var all []check
	for _, part := range [][]check{firstContactChecks, answerChecks, signatureChecks, orderChecks, proofChecks, formatChecks, raceChecks, monitorChecks, subtreeChecks} {
		all = append(all, part...)
	}
	return all
}

// firstContactChecks need a log of which the witness has never cosigned anything. They come in this order.
var firstContactChecks = []check{
	{"monitor-never-cosigned", Must, witnessSpec,
		`If the witness has never cosigned a checkpoint for that log, it MUST respond with a "404 Not Found" HTTP status code instead.`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			a, err := r.monitor(r.Keys.Fresh)
			if err != nil {
				return err
			}
			return want(a, http.StatusNotFound)
		}},
	{"first-old-size", Must, witnessSpec,
		`The witness MUST check that the old size matches the size of the latest checkpoint it cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that origin).`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			a, err := r.add(r.Keys.Fresh.Honest().Request(3, 5))
			if err != nil {
				return err
			}
			return conflict(a, 0)
		}},
	{"size-zero-root", Must, witnessSpec,
		`A checkpoint of size zero MUST have the root hash of the empty tree … Otherwise, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			cp := r.Keys.Fresh.Honest().Checkpoint(0)
			cp.Root[0] ^= 1
			return r.expect(AddBody(0, nil, r.Keys.Fresh.Sign(cp.Text())), http.StatusUnprocessableEntity)
		}},
	{"first-contact-proof", Must, witnessSpec,
		`If the proof is not empty when the old size is zero … the witness MUST respond with a "422 Unprocessable Entity" HTTP status code.`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			v := r.Keys.Fresh.Honest()
			return r.expect(AddBody(0, []tlog.Hash{v.Hash(0, 1)}, v.Note(5)), http.StatusUnprocessableEntity)
		}},
	{"size-zero", Must, witnessSpec,
		`If all the checks above pass, the witness MUST update its record of the latest cosigned checkpoint and respond with a "200 Success" HTTP status code. [a checkpoint of size zero]`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			return r.expect(r.Keys.Fresh.Honest().Request(0, 0), http.StatusOK)
		}},
	{"first-contact", Must, witnessSpec,
		`If the old size is zero, the consistency proof MUST be empty, because the empty tree is consistent with any tree, so no proof is necessary.`,
		func(r *runner) error {
			if err := r.needFresh(); err != nil {
				return err
			}
			if err := r.expect(r.Keys.Fresh.Honest().Request(0, 5), http.StatusOK); err != nil {
				return err
			}
			r.known[r.Keys.Fresh] = 5
			return nil
		}},
}

// needFresh finds out whether the fresh log was used in an earlier run, without
// making the witness cosign anything.
func (r *runner) needFresh() error {
	if r.known[r.Keys.Fresh] != 0 {
		return skipError("the fresh log is not fresh any more: make new log keys and configure the witness with them")
	}
	a, err := r.add(r.Keys.Fresh.Honest().Request(3, 5))
	if err != nil {
		return err
	}
	if a.status == http.StatusConflict && strings.TrimSpace(string(a.body)) != "0" {
		return skipError(fmt.Sprintf("the witness knows the fresh log already (%v): make new log keys and configure the witness with them", a))
	}
	return nil
}

func conflict(a *answer, size int64) error {
	if err := want(a, http.StatusConflict); err != nil {
		return err
	}
	if string(a.body) != fmt.Sprintf("%d\n", size) {
		return fmt.Errorf("the body is %q, want %q", a.body, fmt.Sprintf("%d\n", size))
	}
	return nil
}

var answerChecks = []check{
	{"post-only", Must, witnessSpec, `The request MUST be an HTTP POST.`,
		func(r *runner) error {
			size := r.known[r.Keys.Main]
			for _, method := range []string{http.MethodGet, http.MethodPut} {
				a, err := r.do(method, r.URL+"/add-checkpoint", strings.NewReader(r.Keys.Main.Honest().Request(size, size)))
				if err != nil {
					return err
				}
				if a.status < 400 || a.status > 499 {
					return fmt.Errorf("%s answered %v", method, a)
				}
			}
			return nil
		}},
	{"success", Must, witnessSpec,
		`If all the checks above pass, the witness MUST update its record of the latest cosigned checkpoint and respond with a "200 Success" HTTP status code.`,
		func(r *runner) error {
			if _, _, err := r.advance(r.Keys.Main, 3, r.Keys.Main.Honest().Note); err != nil {
				return err
			}
			return r.remembers(r.Keys.Main)
		}},
	{"signature-lines", Must, witnessSpec,
		`The response body MUST be a sequence of one or more note signature lines, each starting with the — character (U+2014) and ending with a newline character (U+000A). The signatures MUST be cosignatures from the witness key(s) on the checkpoint.`,
		func(r *runner) error {
			lines, cp, err := r.advance(r.Keys.Main, 2, r.Keys.Main.Honest().Note)
			if err != nil {
				return err
			}
			good, err := checkpoint.Verify(cp.Text(), lines, r.Witness...)
			if err != nil {
				return err
			}
			if len(good) != len(lines) {
				return fmt.Errorf("%d of %d lines are not of the witness keys given to this suite", len(lines)-len(good), len(lines))
			}
			for _, v := range r.Witness {
				if n := count(good, v); n != 1 {
					return fmt.Errorf("%d lines of key %s, want 1", n, v)
				}
			}
			return nil
		}},
	{"cosignature-type", Must, cosignatureSpec,
		`The key ID for Ed25519 cosignatures MUST be computed as SHA-256(<name> || "\n" || 0x04 || …) … for ML-DSA-44 cosignatures … 0x06 …`,
		func(r *runner) error {
			for _, v := range r.Witness {
				if !v.Algorithm().Timestamped() {
					return fmt.Errorf("witness key %s is of type %s, not a cosignature type", v, v.Algorithm())
				}
			}
			return nil
		}},
	{"timestamp", Must, witnessSpec,
		`The cosignature MUST NOT omit the timestamp, i.e. the timestamp MUST NOT be zero.`,
		func(r *runner) error {
			lines, _, err := r.advance(r.Keys.Main, 1, r.Keys.Main.Honest().Note)
			if err != nil {
				return err
			}
			for _, l := range lines {
				if r.verifier(l) == nil {
					continue
				}
				off := time.Since(time.Unix(l.Timestamp(), 0)).Abs()
				if l.Timestamp() <= 0 || off > r.MaxSkew {
					return fmt.Errorf("the timestamp of %s is %d, %v from now", l.Name, l.Timestamp(), off)
				}
			}
			return nil
		}},
	{"ml-dsa", Should, witnessSpec, `Witnesses SHOULD use ML-DSA-44 cosignatures.`,
		func(r *runner) error {
			for _, v := range r.Witness {
				if v.Algorithm() == checkpoint.AlgMLDSA44 {
					return nil
				}
			}
			return fmt.Errorf("no ML-DSA-44 key among the witness keys given to this suite")
		}},
	{"repeat", Must, witnessSpec,
		`If the old size matches the checkpoint size, the witness MUST check that the root hashes are also identical. [they are: 200]`,
		func(r *runner) error {
			size := r.known[r.Keys.Main]
			return r.expect(r.Keys.Main.Honest().Request(size, size), http.StatusOK)
		}},
	{"extension-lines", Must, cosignatureSpec,
		`Extension lines MAY be included in the checkpoint by the log, and if present MUST be included in the cosigned message.`,
		func(r *runner) error {
			text := func(size int64) string {
				cp := r.Keys.Main.Honest().Checkpoint(size)
				cp.Extensions = []string{"an extension line", "and another"}
				return cp.Text()
			}
			lines, cp, err := r.advance(r.Keys.Main, 1, func(size int64) string { return r.Keys.Main.Sign(text(size)) })
			if err != nil {
				return err
			}
			_, err = checkpoint.Verify(text(cp.Size), lines, r.Witness...)
			return err
		}},
	{"keep-alive", Should, witnessSpec,
		`Clients SHOULD use, and witnesses SHOULD support, HTTP keep-alive HTTP connections to reduce latency and load due to connection establishment.`,
		func(r *runner) error {
			size := r.known[r.Keys.Main]
			for range 3 {
				a, err := r.add(r.Keys.Main.Honest().Request(size, size))
				if err != nil {
					return err
				}
				if a.reused {
					return nil
				}
			}
			return fmt.Errorf("three requests in a row each needed a new connection")
		}},
}

func count(lines []checkpoint.SignatureLine, v *checkpoint.Verifier) int {
	n := 0
	for _, l := range lines {
		if l.Name == v.Name() && l.KeyHash == v.KeyHash() {
			n++
		}
	}
	return n
}

var raceChecks = []check{
	{"atomic", Must, witnessSpec,
		`Note that checking the old size against the latest checkpoint and persisting the new checkpoint must be performed atomically`,
		func(r *runner) error {
			l := r.Keys.Main
			from := r.known[l]
			const racers = 32
			l.Grow(from + racers)
			answers := make([]*answer, racers)
			errs := make([]error, racers)
			var wg sync.WaitGroup
			for i := range answers {
				view := l.Honest()
				if i%2 == 1 {
					view = l.Forked() // proven from the honest tree's size, so it does not verify
				}
				body := AddBody(from, view.Proof(from, from+int64(i)+1), view.Note(from+int64(i)+1))
				wg.Go(func() { answers[i], errs[i] = r.add(body) })
			}
			wg.Wait()
			winners := 0
			for i, a := range answers {
				if errs[i] != nil {
					return errs[i]
				}
				switch a.status {
				case http.StatusOK:
					if i%2 == 1 {
						return fmt.Errorf("a checkpoint of another history was cosigned: %v", a)
					}
					winners++
					r.known[l] = from + int64(i) + 1
				case http.StatusConflict, http.StatusUnprocessableEntity:
				default:
					return fmt.Errorf("one of %d concurrent requests was answered %v", racers, a)
				}
			}
			if winners != 1 {
				return fmt.Errorf("%d of %d concurrent steps from size %d were cosigned, want 1", winners, racers, from)
			}
			return r.remembers(l)
		}},
}
