package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

func TestSubmitReturnsVerifiedReceipts(t *testing.T) {
	f := newFakeLog(t)
	f.cosigned = true
	s := f.submitter()
	s.Policy = f.policy()
	events := signed(t, 5)
	results, err := s.Submit(t.Context(), events...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("event %d: %v", i, r.Err)
		}
		if r.Receipt.Index != int64(i) || r.Receipt.Existing || !bytes.Equal(r.Receipt.Leaf, f.leaves[i]) {
			t.Errorf("event %d: receipt %+v", i, r.Receipt)
		}
		// What is kept on disk must verify without the client.
		proof, err := checkpoint.ParseProof(r.Receipt.Proof.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		ms, err := proof.LeafTime()
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := events[i].Entry(ms).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proof.Verify(entry.LeafHash(leaf), s.Policy); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if len(f.requests) != 1 {
		t.Errorf("%d requests for one batch", len(f.requests))
	}
}

func TestSubmitAgainFindsTheFirst(t *testing.T) {
	f := newFakeLog(t)
	s := f.submitter()
	events := signed(t, 3)
	first, err := s.Submit(t.Context(), events...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Submit(t.Context(), events...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range second {
		if a, b := first[i].Receipt, second[i].Receipt; !b.Existing || a.Index != b.Index || a.LeafHash != b.LeafHash {
			t.Errorf("event %d: first %+v, again %+v", i, a, b)
		}
	}
}

func TestUnsignedEventsAreSentAsTheyAre(t *testing.T) {
	f := newFakeLog(t)
	payload := []byte(`{"spelling" : 1.0}`)
	results, err := f.submitter().Submit(t.Context(), &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload}, signed(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := "application/cloudevents-batch+json application/vnd.dsse-batch+json"; strings.Join(f.types, " ") != want {
		t.Errorf("sent as %v", f.types)
	}
	if !bytes.Contains(f.requests[0], payload) || results[0].Receipt.Index != 0 || results[1].Receipt.Index != 1 {
		t.Errorf("sent %s, got %+v", f.requests[0], results)
	}
}

func TestBatchesKeepToTheBounds(t *testing.T) {
	f := newFakeLog(t)
	if _, err := f.submitter().Submit(t.Context(), signed(t, MaxBatchEvents+1)...); err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 2 {
		t.Errorf("%d events went out in %d requests", MaxBatchEvents+1, len(f.requests))
	}
	big := []outgoing{{body: make([]byte, MaxBatchBytes-10)}, {body: make([]byte, 20)}}
	for i := range big {
		big[i].envelope = &entry.Envelope{}
	}
	if n := batchLen(big); n != 1 {
		t.Errorf("%d bytes and more in one batch", MaxBatchBytes)
	}
}

func TestTooLargeABatchIsHalved(t *testing.T) {
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
		if bytes.Count(body, []byte(`"payload"`)) <= 2 {
			return false
		}
		sendProblem(w, Problem{Type: "urn:escortlog:problem:too-large", Status: 413})
		return true
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 5)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Receipt.Index != int64(i) {
			t.Errorf("event %d: %+v", i, r)
		}
	}
}

func TestRefusedEventsDoNotHoldUpOthers(t *testing.T) {
	f := newFakeLog(t)
	f.judge = func(n int, _ []byte) *Problem {
		if n != 1 {
			return nil
		}
		return &Problem{Type: "urn:escortlog:problem:wrong-source", Status: 403, Detail: "not yours"}
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 3)...)
	if err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if !errors.As(results[1].Err, &refused) || refused.Problem.Slug() != "wrong-source" || results[1].Receipt != nil {
		t.Errorf("refused event: %+v", results[1])
	}
	if results[0].Err != nil || results[2].Err != nil || results[2].Receipt.Index != 1 {
		t.Errorf("the others: %+v %+v", results[0], results[2])
	}
}

func TestARefusedRequestRefusesEachEvent(t *testing.T) {
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		sendProblem(w, Problem{Type: "urn:escortlog:problem:unsupported-media-type", Status: 415})
		return true
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 2)...)
	var refused *RefusedError
	if err != nil || !errors.As(results[0].Err, &refused) || !errors.As(results[1].Err, &refused) {
		t.Errorf("%v, %+v", err, results)
	}
}

// TestWhatJudgesNoEventRefusesNone: an answer that says nothing about the events,
// or that no log made, leaves them to be sent again.
func TestWhatJudgesNoEventRefusesNone(t *testing.T) {
	for _, p := range []Problem{
		{Type: "urn:escortlog:problem:not-found", Status: 404},
		{Type: "urn:escortlog:problem:method-not-allowed", Status: 405},
		{Type: "urn:escortlog:problem:timeout", Status: 408},
		{Type: "about:blank", Status: 403},
		{Status: 400},
	} {
		f := newFakeLog(t)
		f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			sendProblem(w, p)
			return true
		}
		if results, err := f.submitter().Submit(t.Context(), signed(t, 2)...); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d %q: %v, %+v", p.Status, p.Type, err, results)
		}
	}
}

func TestABusyLogIsAskedAgainWithTheSameBytes(t *testing.T) {
	f := newFakeLog(t)
	s := f.submitter()
	var pauses []time.Duration
	sleep := s.sleep
	s.sleep = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return sleep(ctx, d)
	}
	f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		switch len(f.requests) {
		case 1:
			w.Header().Set("Retry-After", "7")
			sendProblem(w, Problem{Type: "urn:escortlog:problem:pool-full", Status: 503})
		case 2:
			sendProblem(w, Problem{Type: "urn:escortlog:problem:rate-limited", Status: 429})
		case 3:
			// A connection that breaks leaves the outcome unknown.
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			conn.Close()
		default:
			return false
		}
		return true
	}
	if _, err := s.Submit(t.Context(), signed(t, 2)...); err != nil {
		t.Fatal(err)
	}
	if len(pauses) != 3 || pauses[0] != 7*time.Second || pauses[1] != firstPause || pauses[2] != 2*firstPause {
		t.Errorf("pauses %v", pauses)
	}
	for i, b := range f.requests {
		if !bytes.Equal(b, f.requests[0]) {
			t.Errorf("request %d differs from the first", i)
		}
	}
}

func TestOnlyEventsWithoutRoomAreSentAgain(t *testing.T) {
	f := newFakeLog(t)
	f.judge = func(n int, _ []byte) *Problem {
		if len(f.requests) == 1 && n > 0 {
			return &Problem{Type: "urn:escortlog:problem:pool-full", Status: 503}
		}
		return nil
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 3)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 2 || bytes.Count(f.requests[1], []byte(`"payload"`)) != 2 {
		t.Errorf("sent again: %s", f.requests)
	}
	for i, r := range results {
		if r.Err != nil || r.Receipt.Index != int64(i) {
			t.Errorf("event %d: %+v", i, r)
		}
	}
}

func TestGivingUpIsUnavailable(t *testing.T) {
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		sendProblem(w, Problem{Type: "urn:escortlog:problem:log-stopped", Status: 503})
		return true
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 2)...)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(results[1].Err, ErrUnavailable) || !strings.Contains(err.Error(), "log-stopped") {
		t.Errorf("%v, %+v", err, results)
	}
	// A web server that is no log must not look like a refusal.
	f.before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool { http.NotFound(w, r); return true }
	if _, err := f.submitter().Submit(t.Context(), signed(t, 1)...); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a 404 without a problem document: %v", err)
	}
}

// TestWhatWillNotPassIsNotRepeated: a certificate that nobody vouches for and a
// redirect stay what they are, however often they are asked for.
func TestWhatWillNotPassIsNotRepeated(t *testing.T) {
	hits := 0
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshakes fail, as they should
	stranger.StartTLS()
	defer stranger.Close()
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
		return true
	}
	for name, url := range map[string]string{"an unknown certificate": stranger.URL, "a redirect": f.url} {
		s := f.submitter()
		s.URL = url
		s.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("not followed") }}
		s.sleep = func(context.Context, time.Duration) error {
			t.Errorf("%s: asked again", name)
			return errors.New("stop")
		}
		if _, err := s.Submit(t.Context(), signed(t, 1)...); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hits > 0 {
		t.Error("the stranger got a request")
	}
}

func TestACancelledSubmissionIsUndecided(t *testing.T) {
	f := newFakeLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		cancel()
		sendProblem(w, Problem{Status: 503})
		return true
	}
	results, err := f.submitter().Submit(ctx, signed(t, 2)...)
	if !errors.Is(err, context.Canceled) || !errors.Is(results[0].Err, context.Canceled) || !errors.Is(results[1].Err, context.Canceled) {
		t.Errorf("%v, %+v", err, results)
	}
}

func TestLateProofsAreWaitedFor(t *testing.T) {
	f := newFakeLog(t)
	f.published = false
	f.before = func(_ http.ResponseWriter, _ *http.Request, _ []byte) bool {
		f.published = len(f.paths) >= 3
		return false
	}
	results, err := f.submitter().Submit(t.Context(), signed(t, 2)...)
	if err != nil {
		t.Fatal(err)
	}
	if results[1].Receipt.Proof.Index != 1 || len(f.paths) < 3 {
		t.Errorf("%+v after %v", results[1].Receipt, f.paths)
	}
	f.before, f.published = nil, false
	results, err = f.submitter().Submit(t.Context(), signed(t, 4)[3])
	if !errors.Is(err, ErrUnavailable) || results[0].Receipt != nil {
		t.Errorf("without any proof: %v, %+v", err, results)
	}
}

func TestQuorumIsWaitedFor(t *testing.T) {
	f := newFakeLog(t)
	s := f.submitter()
	s.Policy = f.policy()
	results, err := s.Submit(t.Context(), signed(t, 1)...)
	if !errors.Is(err, checkpoint.ErrQuorum) || !errors.Is(results[0].Err, checkpoint.ErrQuorum) || results[0].Receipt == nil {
		t.Fatalf("quorum never met: %v, %+v", err, results)
	}
	asked := len(f.paths)
	f.before = func(_ http.ResponseWriter, _ *http.Request, _ []byte) bool {
		f.cosigned = len(f.paths) >= asked+2
		return false
	}
	results, err = s.Submit(t.Context(), signed(t, 1)...)
	if err != nil || len(results[0].Receipt.Verified.Cosignatures) != 1 {
		t.Errorf("quorum met late: %v, %+v", err, results)
	}
}

// TestLiesAreFound: nothing a server answers is believed.
func TestLiesAreFound(t *testing.T) {
	for name, lie := range map[string]func(f *fakeLog){
		"another leaf hash":   func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.LeafHash[0]++ } },
		"another time":        func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Time++ } },
		"a time out of range": func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Time = -1 } },
		"another index":       func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Index ^= 1 } },
		"a negative index":    func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Index = -1 } },
		"a negative index, and a proof later": func(f *fakeLog) {
			f.alter = func(_ int, a *entryAnswer) { a.Index, a.Status, a.Proof = -1, 202, nil }
		},
		"a wrong proof": func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Proof[0][0]++ } },
		"a short proof": func(f *fakeLog) { f.alter = func(_ int, a *entryAnswer) { a.Proof = nil } },
		"one entry for two": func(f *fakeLog) {
			f.alter = func(n int, a *entryAnswer) { a.Index, a.LeafHash, a.Proof = 0, entry.LeafHash(f.leaves[0]), f.proof(0) }
		},
		"the leaf of another, as if known before": func(f *fakeLog) {
			f.alter = func(_ int, a *entryAnswer) {
				a.Status, a.Index = 200, 1
				a.LeafHash, a.Time, a.Proof = entry.LeafHash(f.leaves[1]), entry.TimeOf(f.leaves[1]), f.proof(1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeLog(t)
			f.cosigned = true
			lie(f)
			for _, policy := range []*checkpoint.Policy{nil, f.policy()} {
				s := f.submitter()
				s.Policy = policy
				results, err := s.Submit(t.Context(), signed(t, 2)...)
				var lied *ReceiptError
				if !errors.As(err, &lied) {
					t.Errorf("believed (policy %v): %v, %+v", policy != nil, err, results)
				}
			}
		})
	}
}

// TestLiesInLateProofsAreFound: a proof that comes later is believed no more.
func TestLiesInLateProofsAreFound(t *testing.T) {
	for name, lie := range map[string]func(p *checkpoint.Proof){
		"another time":        func(p *checkpoint.Proof) { p.Extra[7]++ },
		"no time":             func(p *checkpoint.Proof) { p.Extra = nil },
		"another index":       func(p *checkpoint.Proof) { p.Index ^= 1 },
		"a wrong hash":        func(p *checkpoint.Proof) { p.Hashes[0][0]++ },
		"a checkpoint forged": func(p *checkpoint.Proof) { p.Checkpoint[len(p.Checkpoint)-9] ^= 1 },
		"no proof":            func(p *checkpoint.Proof) { p.Index = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeLog(t)
			f.cosigned, f.published = true, false
			f.before = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				f.published = r.Method == http.MethodGet
				return false
			}
			f.altProof = lie
			s := f.submitter()
			s.Policy = f.policy()
			results, err := s.Submit(t.Context(), signed(t, 2)...)
			var lied *ReceiptError
			if !errors.As(err, &lied) || len(lied.Evidence) == 0 {
				t.Errorf("believed: %v, %+v", err, results)
			}
		})
	}
}

func TestACheckpointOfAnotherLogIsRefused(t *testing.T) {
	f, other := newFakeLog(t), newFakeLog(t)
	f.cosigned = true
	s := f.submitter()
	var err error
	if other.signer, err = checkpoint.GenerateSigner(testOrigin, checkpoint.AlgEd25519, other.rand); err != nil {
		t.Fatal(err)
	}
	s.Policy = other.policy()
	var lied *ReceiptError
	if _, err := s.Submit(t.Context(), signed(t, 1)...); !errors.As(err, &lied) {
		t.Errorf("believed: %v", err)
	}
}

func TestFewerAnswersThanEvents(t *testing.T) {
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.Write([]byte(`{"checkpoint":"","entries":[]}`))
		return true
	}
	var lied *ReceiptError
	if _, err := f.submitter().Submit(t.Context(), signed(t, 1)...); !errors.As(err, &lied) {
		t.Errorf("believed: %v", err)
	}
}

// TestAnEarlierSignatureIsVerified: a retry that was signed again, by a signer
// that draws random numbers, finds the leaf with the first signature.
func TestAnEarlierSignatureIsVerified(t *testing.T) {
	f := newFakeLog(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := event.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text string) *entry.Envelope {
		payload := []byte(text)
		digest := sha256.Sum256(entry.PAE(entry.PayloadType, payload))
		sig, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{{KeyID: public.KeyID(), Sig: sig}}}
	}
	s := f.submitter()
	if _, err := s.Submit(t.Context(), sign(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submit(t.Context(), sign(`{"n":1}`)); err == nil {
		t.Error("another signature was accepted unseen")
	}
	s.Keys = []*event.PublicKey{public}
	results, err := s.Submit(t.Context(), sign(`{"n":1}`))
	if err != nil || !bytes.Equal(results[0].Receipt.Leaf, f.leaves[0]) {
		t.Fatalf("the first signature: %v, %+v", err, results)
	}
	for name, forge := range map[string]func(e *entry.Entry){
		"a signature that does not verify": func(e *entry.Entry) { e.Signatures[0].Sig[9]++ },
		"another event of the same key":    func(e *entry.Entry) { *e = *sign(`{"n":2}`).Entry(e.Time) },
		"another time":                     func(e *entry.Entry) { e.Time++ },
	} {
		e, err := entry.Parse(f.leaves[0])
		if err != nil {
			t.Fatal(err)
		}
		forge(e)
		leaf, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		// A log that holds the forged leaf, and proves it well.
		g := newFakeLog(t)
		g.append(leaf)
		g.alter = func(_ int, a *entryAnswer) {
			*a = entryAnswer{Status: 200, LeafHash: entry.LeafHash(leaf), Time: entry.TimeOf(f.leaves[0]), Proof: g.proof(0)}
		}
		s := g.submitter()
		s.Keys = []*event.PublicKey{public}
		if results, err := s.Submit(t.Context(), sign(`{"n":1}`)); err == nil {
			t.Errorf("%s: believed, %+v", name, results[0].Receipt)
		}
	}
	// A log that proves one leaf and serves another, as good as the first.
	f.serve = func([]byte) []byte {
		leaf, err := sign(`{"n":1}`).Entry(entry.TimeOf(f.leaves[0])).Marshal()
		if err != nil {
			t.Error(err)
		}
		return leaf
	}
	if results, err := s.Submit(t.Context(), sign(`{"n":1}`)); err == nil {
		t.Errorf("a leaf that was not proven: believed, %+v", results[0].Receipt)
	}
}
