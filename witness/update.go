package witness

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/subtree"
)

// maxClockStep is how far the clock may go back, in seconds, before the witness
// believes it. Up to that it repeats its last time instead: two cosignatures
// whose times go back contradict each other in what was the largest tree.
const maxClockStep = 600

// Refusal is an answer other than 200.
type Refusal struct {
	Status int   // HTTP status code
	Known  int64 // with 409: the size of the latest cosigned checkpoint, in leaves
	Reason string
}

// Error gives the reason.
func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Reason) }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// AddCheckpoint judges a request body of add-checkpoint and returns the
// cosignature lines, one for each key, after the checkpoint is durable. Errors are
// *Refusal.
func (w *Witness) AddCheckpoint(body []byte) ([]byte, error) {
	r, err := parseAddRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "malformed request: %v", err)
	}
	// "If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found""
	known := w.knownLog(r.cp.Origin)
	if known == nil {
		return nil, refuse(http.StatusNotFound, "no log with the origin %q is known here", r.cp.Origin)
	}
	// "… "403 Forbidden" … if either no signature from a trusted key for the origin is
	// present, or a signature line's key name and ID match a trusted key but the
	// signature itself fails to verify"
	logSigs, err := checkpoint.Verify(r.text, r.sigs, known.keys...)
	if err != nil {
		return nil, refuse(http.StatusForbidden, "checkpoint of %q: %v", r.cp.Origin, err)
	}
	u := &update{addRequest: r, body: body, log: known, logSigs: unique(logSigs)}
	lines, refusal := w.apply(u)
	if refusal != nil {
		return nil, refusal
	}
	return lines, nil
}

// unique drops repetitions of a key's signature.
func unique(sigs []checkpoint.SignatureLine) []checkpoint.SignatureLine {
	var out []checkpoint.SignatureLine
	for _, l := range sigs {
		seen := false
		for _, o := range out {
			seen = seen || o.Name == l.Name && o.KeyHash == l.KeyHash
		}
		if !seen {
			out = append(out, l)
		}
	}
	return out
}

// update is a request of add-checkpoint that the log signed.
type update struct {
	*addRequest
	body    []byte
	log     *knownLog
	logSigs []checkpoint.SignatureLine // the log's, verified, one a key
}

// apply checks an update against what is remembered of its log, makes it the
// log's new head durably, and returns the cosignatures. It is the only place that changes a head.
func (w *Witness) apply(u *update) ([]byte, *Refusal) {
	st := w.state(u.cp.Origin)
	st.mu.Lock()
	defer st.mu.Unlock()
	prev := st.head.Load()
	if refusal := check(prev, u.addRequest); refusal != nil {
		w.watch(prev, u, refusal)
		return nil, refusal
	}
	budget := &st.grow
	if prev != nil && prev.cp.Size == u.cp.Size {
		budget = &st.repeat
	}
	if refusal := w.spend(budget, u.log); refusal != nil {
		return nil, refusal
	}
	next, lines, err := w.cosign(prev, u)
	if err != nil {
		w.log.Error("cosigning failed", "origin", u.cp.Origin, "error", err)
		return nil, refuse(http.StatusServiceUnavailable, "cannot cosign now; the witness's operator sees why in its log")
	}
	// "The witness MUST persist the new checkpoint before responding."
	if err := w.journal.Put(u.cp.Origin, next.note); err != nil {
		w.log.Error("the checkpoint could not be made durable; nothing is signed until a restart", "origin", u.cp.Origin, "error", err)
		return nil, refuse(http.StatusServiceUnavailable, "the witness's memory has failed; its operator must restart it")
	}
	st.head.Store(next)
	w.metrics.size.WithLabelValues(u.cp.Origin).Set(float64(next.cp.Size))
	return lines, nil
}

// check compares a request with the latest cosigned checkpoint, nil if there is none yet.
func check(prev *head, r *addRequest) *Refusal {
	var size int64
	root := checkpoint.EmptyRoot
	if prev != nil {
		size, root = prev.cp.Size, prev.cp.Root
	}
	// "The old size MUST be equal to or lower than the checkpoint size. Otherwise, … "400 Bad Request""
	if r.old > r.cp.Size {
		return refuse(http.StatusBadRequest, "old size %d is larger than the checkpoint's size %d", r.old, r.cp.Size)
	}
	// "The witness MUST check that the old size matches the size of the latest checkpoint
	// it cosigned for the checkpoint's origin (or zero if it never cosigned …)."
	if r.old != size {
		refusal := refuse(http.StatusConflict, "the latest cosigned checkpoint has size %d, not %d", size, r.old)
		refusal.Known = size
		return refusal
	}
	// "A checkpoint of size zero MUST have the root hash of the empty tree", "If the old size
	// is zero, the consistency proof MUST be empty", "If the old size matches the checkpoint
	// size, the witness MUST check that the root hashes are also identical."
	if err := checkpoint.VerifyConsistency(size, r.cp.Size, root, r.cp.Root, r.proof); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	return nil
}

// cosign makes the next head and the lines to answer with. Nothing of it may leave before it is durable.
func (w *Witness) cosign(prev *head, u *update) (*head, []byte, error) {
	unix := w.now().Unix()
	if prev != nil && prev.time > unix && prev.time-unix <= maxClockStep {
		unix = prev.time
	}
	// "The cosignature MUST NOT omit the timestamp, i.e. the timestamp MUST NOT be zero."
	if unix <= 0 {
		return nil, nil, fmt.Errorf("the clock says %d seconds since 1970: set it", unix)
	}
	next := &head{cp: u.cp, logSigs: u.logSigs, time: unix}
	var own []byte
	for _, s := range w.signers {
		line, err := s.Sign(u.text, unix)
		if err != nil {
			return nil, nil, err
		}
		own = append(own, line...)
	}
	var lines [][]byte
	for _, l := range u.logSigs {
		lines = append(lines, l.Line())
	}
	next.note = checkpoint.Join(u.text, append(lines, own)...)
	return next, own, nil
}

// watch keeps what a refused but validly signed checkpoint proves about its log.
func (w *Witness) watch(prev *head, u *update, refusal *Refusal) {
	kind, explain, proof := contradiction(prev, u.cp, u.logSigs, u.log.keys)
	if !proof {
		if refusal.Status != http.StatusUnprocessableEntity || prev == nil || u.cp.Size == prev.cp.Size {
			return
		}
		kind, explain = Inconsistent, refusal.Reason
	}
	var lines [][]byte
	for _, l := range u.logSigs {
		lines = append(lines, l.Line())
	}
	e := &Evidence{
		Kind: kind, Proof: proof, Origin: u.cp.Origin, Time: w.now().UTC(), Explain: explain,
		Shown: string(checkpoint.Join(u.text, lines...)), Request: string(u.body),
	}
	if prev != nil {
		e.Known = string(prev.note)
	}
	w.metrics.evidence.WithLabelValues(string(kind)).Inc()
	new, err := w.evidence.keep(e)
	switch {
	case errors.Is(err, errEvidenceFull):
		w.log.Warn("a log contradicted itself again; enough evidence is kept", "origin", e.Origin, "kind", kind, "why", explain)
	case err != nil:
		w.log.Error("evidence could not be kept", "origin", e.Origin, "kind", kind, "error", err, "evidence", e)
	case new:
		w.log.Error("a log contradicted itself; evidence kept", "origin", e.Origin, "kind", kind, "proof", proof, "why", explain)
	}
}

// spend takes one from a budget of a log, whose size the list or the configuration says.
func (w *Witness) spend(budget **rate.Limiter, known *knownLog) *Refusal {
	limit, burst := rate.Limit(w.rate), int(10*w.rate)
	switch {
	case known.qpd > 0:
		// A day's worth spread over the day, with an hour's worth at once.
		limit, burst = rate.Limit(float64(known.qpd)/(24*60*60)), int(known.qpd/24)
	case w.rate < 0:
		return nil
	}
	if *budget == nil || (*budget).Limit() != limit {
		*budget = rate.NewLimiter(limit, max(10, burst))
	}
	if (*budget).AllowN(w.now(), 1) {
		return nil
	}
	return refuse(http.StatusTooManyRequests, "this log asks more often than %.3g times a second", float64(limit))
}

// SignSubtree judges a request body of sign-subtree and returns the
// ML-DSA-44 cosignature line of the subtree, with time zero: the witness's, the mirror's or both, according to
// who cosigned the reference checkpoint. It changes nothing. Errors are *Refusal.
func (w *Witness) SignSubtree(body []byte) ([]byte, error) {
	r, err := parseSubtreeRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "malformed request: %v", err)
	}
	if !subtree.Valid(r.start, r.end, r.cp.Size) {
		return nil, refuse(http.StatusBadRequest, "[%d, %d) is not a subtree of a tree of size %d", r.start, r.end, r.cp.Size)
	}
	known := w.knownLog(r.cp.Origin)
	if known == nil {
		return nil, refuse(http.StatusNotFound, "no log with the origin %q is known here", r.cp.Origin)
	}
	signers, err := w.whoSigned(r.signed)
	if err != nil {
		return nil, refuse(http.StatusForbidden, "the reference checkpoint needs a cosignature of this witness: %v", err)
	}
	if err := subtree.Verify(r.start, r.end, r.cp.Size, r.hash, r.cp.Root, r.proof); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	st := w.state(r.cp.Origin)
	st.mu.Lock()
	refusal := w.spend(&st.subtree, known)
	st.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	var lines []byte
	for _, signer := range signers {
		line, err := signer.SignSubtree(r.cp.Origin, r.start, r.end, r.hash)
		if err != nil {
			w.log.Error("signing a subtree failed", "origin", r.cp.Origin, "error", err)
			return nil, refuse(http.StatusServiceUnavailable, "cannot cosign now; the witness's operator sees why in its log")
		}
		lines = append(lines, line...)
	}
	return lines, nil
}

// whoSigned returns the subtree signers of those identities, the witness and the mirror beside it, that
// cosigned a reference checkpoint: "The witness MUST verify that the checkpoint includes a valid cosignature
// from one of its own keys"; "checkpoints signed only with the witness key(s), if any, MUST NOT be exchanged
// for subtrees signed by the mirror key(s)".
func (w *Witness) whoSigned(reference signed) (signers []*checkpoint.Signer, err error) {
	var errs []error
	for _, identity := range [][]*checkpoint.Signer{w.signers, w.mirror} {
		if len(identity) == 0 {
			continue
		}
		_, err := checkpoint.Verify(reference.text, reference.sigs, verifiersOf(identity)...)
		switch {
		case err == nil:
			signers = append(signers, subtreeSigner(identity))
		case !errors.Is(err, checkpoint.ErrUnsigned):
			return nil, err // a note with a broken signature of ours is no note
		default:
			errs = append(errs, err)
		}
	}
	if len(signers) == 0 {
		return nil, errors.Join(errs...)
	}
	return signers, nil
}

// subtreeSigner is the one of ML-DSA-44: "The cosignature format MUST support subtree cosigning."
func subtreeSigner(identity []*checkpoint.Signer) *checkpoint.Signer {
	for _, s := range identity {
		if s.Algorithm() == checkpoint.AlgMLDSA44 {
			return s
		}
	}
	return identity[0] // refuses to sign a subtree
}

// retryAfter is when to come back after 429 and 503.
const retryAfter = 5 * time.Second
