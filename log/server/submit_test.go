package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"golang.org/x/mod/sumdb/tlog"
)

// verify checks a receipt as an outsider would: the leaf rebuilt from the
// envelope and the receipt's time, the proof, the checkpoint under the policy.
func (f *fixture) verify(envelope []byte, r receipt) {
	f.Helper()
	v, err := entry.ParseEnvelope(envelope)
	f.must(err)
	leaf, err := v.Entry(r.Time).Marshal()
	f.must(err)
	hash := entry.LeafHash(leaf)
	if !bytes.Equal(hash[:], r.LeafHash) {
		f.Fatalf("leaf hash %x, the envelope and the time give %x", r.LeafHash, hash)
	}
	proof := &checkpoint.Proof{Index: r.Index, Checkpoint: []byte(r.Checkpoint)}
	for _, h := range r.Proof {
		proof.Hashes = append(proof.Hashes, tlog.Hash(h))
	}
	if _, err := proof.Verify(hash, f.policy); err != nil {
		f.Fatalf("the receipt does not verify: %v", err)
	}
}

func TestSubmit(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	a := f.post(typeDSSE, envelope).want(http.StatusCreated).wantHeader("Content-Type", "application/json")
	r := a.receipt()
	a.wantHeader("Location", fmt.Sprintf("/v1/entries/%d", r.Index))
	if r.Index != 2 { // after log.created and the gateway's key
		t.Errorf("index %d, want 2", r.Index)
	}
	f.verify(envelope, r)

	again := f.post(typeDSSE, envelope).want(http.StatusOK).receipt()
	if again.Index != r.Index || again.Time != r.Time {
		t.Errorf("a retry got index %d and time %d, want %d and %d", again.Index, again.Time, r.Index, r.Time)
	}
	f.verify(envelope, again)
}

// TestSubmitText asks for the receipt as a tlog-proof.
func TestSubmitText(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	a := f.post(typeDSSE, envelope, "Accept", "text/plain").want(http.StatusCreated).wantHeader("Content-Type", "text/plain; charset=utf-8")
	proof, err := checkpoint.ParseProof(a.body)
	f.must(err)
	ms, err := proof.LeafTime()
	f.must(err)
	v, err := entry.ParseEnvelope(envelope)
	f.must(err)
	leaf, err := v.Entry(ms).Marshal()
	f.must(err)
	if _, err := proof.Verify(entry.LeafHash(leaf), f.policy); err != nil {
		t.Errorf("envelope and proof do not verify together: %v", err)
	}
}

func TestRespondAsync(t *testing.T) {
	f := newFixture(t, setup{})
	envelope := f.signed()
	a := f.post(typeDSSE, envelope, "Prefer", "respond-async", "Accept", "text/plain").want(http.StatusAccepted)
	a.wantHeader("Preference-Applied", "respond-async").wantHeader("Content-Type", "application/json")
	r := a.receipt()
	if r.Checkpoint != "" || r.Proof != nil {
		t.Error("a 202 carries a proof")
	}
	if size := f.log.Head().Size; r.Index != size-1 {
		t.Errorf("index %d in a log of %d leaves", r.Index, size)
	}
	a.wantHeader("Location", fmt.Sprintf("/v1/entries/%d", r.Index))
	f.verify(envelope, f.post(typeDSSE, envelope).want(http.StatusOK).receipt())
	// The whole receipt at once is no asynchronous answer.
	f.post(typeDSSE, envelope, "Prefer", "respond-async").want(http.StatusOK).wantHeader("Preference-Applied", "")
}

// TestSubmitEverySignatureType submits with each kind of key, several together.
func TestSubmitEverySignatureType(t *testing.T) {
	f := newFixture(t, setup{})
	for _, keyType := range []string{event.Ed25519, event.ECDSAP256, event.ECDSAP384} {
		key, err := event.GenerateKey(keyType)
		f.must(err)
		f.register(key, testConsole)
		envelope := f.envelope(f.payload(paused(testConsole), pausedData), key, f.gateway)
		f.verify(envelope, f.post(typeDSSE, envelope).want(http.StatusCreated).receipt())
	}
}

// TestRetryAfterRevocation: what was logged is found again though its key could
// not sign it any more, and nothing new is.
func TestRetryAfterRevocation(t *testing.T) {
	f := newFixture(t, setup{})
	first := f.signed()
	r := f.post(typeDSSE, first).want(http.StatusCreated).receipt()
	revocation := f.revocation(f.header(), f.gateway)
	f.post(typeDSSE, revocation).want(http.StatusCreated)

	if again := f.post(typeDSSE, first).want(http.StatusOK).receipt(); again.Index != r.Index {
		t.Errorf("the retry got index %d, want %d", again.Index, r.Index)
	}
	f.post(typeDSSE, f.signed()).wantProblem(http.StatusForbidden, event.SlugKeyRevoked)
	// The revocation's own retry: data.prev is not the newest any more, and yet
	// it was.
	f.post(typeDSSE, revocation).want(http.StatusOK)
}

// TestConflict: another story under one id is refused and kept.
func TestConflict(t *testing.T) {
	f := newFixture(t, setup{})
	a := paused(testGateway)
	r := f.post(typeDSSE, f.envelope(f.payload(a, pausedData), f.gateway)).want(http.StatusCreated).receipt()
	other := f.envelope(f.payload(a, map[string]any{"session_id": "s-1", "reason": "dinner", "paused_by": nil}), f.gateway)
	size := f.log.Head().Size
	p := f.post(typeDSSE, other).wantProblem(http.StatusConflict, "identity-conflict")
	if p.Index == nil || *p.Index != r.Index {
		t.Errorf("the conflict does not name index %d", r.Index)
	}
	if f.log.Head().Size != size {
		t.Error("the tree grew")
	}
	// Evidence is written behind the answer; the next commit carries it.
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	record := f.evidence(1)[0]
	if record.Index != r.Index || record.Source != testGateway || !bytes.Equal(record.Envelope, other) ||
		!slices.Equal(record.Signers, []string{publicKey(t, f.gateway).KeyID()}) || record.Refused != "" {
		t.Errorf("evidence %+v", record)
	}

	// Not so for what anybody could have made.
	v, err := entry.ParseEnvelope(other)
	f.must(err)
	v.Signatures = nil
	f.post(typeDSSE, v.Marshal()).wantProblem(http.StatusUnauthorized, event.SlugUnsigned)
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	f.evidence(1)
}

// TestConflictBeforeDirectory: identity is judged before what the key may do.
func TestConflictBeforeDirectory(t *testing.T) {
	f := newFixture(t, setup{})
	console := testKey("console")
	f.register(console, testConsole)
	a := paused(testGateway)
	f.post(typeDSSE, f.envelope(f.payload(a, pausedData), f.gateway)).want(http.StatusCreated)
	f.post(typeDSSE, f.envelope(f.payload(a, pausedData), console)).wantProblem(http.StatusConflict, "identity-conflict")
	f.post(typeDSSE, f.envelope(f.payload(paused(testGateway), pausedData), console)).wantProblem(http.StatusForbidden, event.SlugWrongSource)

	// The evidence does not accuse the gateway of what the console signed.
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	record := f.evidence(1)[0]
	if !slices.Equal(record.Signers, []string{publicKey(t, console).KeyID()}) || record.Refused != event.SlugWrongSource {
		t.Errorf("evidence %+v", record)
	}
}

// TestConflictsArePaidForBySigner: evidence counts against whoever signed it, so
// that one key cannot drive out what others did.
func TestConflictsArePaidForBySigner(t *testing.T) {
	f := newFixture(t, setup{})
	console := testKey("console")
	f.register(console, testConsole)
	a := paused(testGateway)
	f.post(typeDSSE, f.envelope(f.payload(a, pausedData), f.gateway)).want(http.StatusCreated)
	f.post(typeDSSE, f.envelope(f.payload(a, pausedData), f.gateway, console)).wantProblem(http.StatusConflict, "identity-conflict")
	f.post(typeDSSE, f.envelope(f.payload(a, pausedData), console)).wantProblem(http.StatusConflict, "identity-conflict")
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	f.evidence(2)
	ids := []string{publicKey(t, f.gateway).KeyID(), publicKey(t, console).KeyID()}
	var by []string
	f.must(f.log.Evidence(t.Context(), func(e log.Evidence) error { by = append(by, e.By); return nil }))
	if want := []string{slices.Min(ids), ids[1]}; !slices.Equal(by, want) {
		t.Errorf("paid for by %q, want %q", by, want)
	}
}

// evidence returns the conflicts kept, n of them.
func (f *fixture) evidence(n int) []conflictRecord {
	f.Helper()
	records := f.readEvidence()
	for deadline := time.Now().Add(patience); len(records) < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		records = f.readEvidence()
	}
	if len(records) != n {
		f.Fatalf("%d conflicts are kept, want %d", len(records), n)
	}
	return records
}

func TestBatch(t *testing.T) {
	f := newFixture(t, setup{})
	existing := f.signed()
	f.post(typeDSSE, existing).want(http.StatusCreated)
	fresh := [][]byte{f.signed(), f.signed()}
	wrong := f.envelope(f.payload(paused(testConsole), pausedData), f.gateway)
	a := f.post(typeDSSEBatch, batch(fresh[0], existing, wrong, []byte(`{"payload":1}`), fresh[1], fresh[0])).want(http.StatusOK)
	var got batchReceipt
	a.decode(&got)
	want := []int{201, 200, 403, 400, 201, 200}
	var statuses []int
	for _, e := range got.Entries {
		statuses = append(statuses, e.Status)
	}
	if !slices.Equal(statuses, want) {
		t.Fatalf("statuses %v, want %v: %s", statuses, want, a.body)
	}
	for i, envelope := range map[int][]byte{0: fresh[0], 1: existing, 4: fresh[1], 5: fresh[0]} {
		e := got.Entries[i]
		f.verify(envelope, receipt{Index: *e.Index, Time: *e.Time, LeafHash: e.LeafHash, Proof: e.Proof, Checkpoint: got.Checkpoint})
	}
	if *got.Entries[0].Index != 3 || *got.Entries[4].Index != 4 || *got.Entries[5].Index != 3 {
		t.Errorf("indexes %d, %d, %d; want 3, 4, 3", *got.Entries[0].Index, *got.Entries[4].Index, *got.Entries[5].Index)
	}
	if e := got.Entries[2]; e.Type != problemPrefix+event.SlugNotRegistered || e.Detail == "" || e.Index != nil {
		t.Errorf("entry 2: %+v", e)
	}
}

// batch makes an array of values with white space that is not part of them.
func batch(elements ...[]byte) []byte {
	return append(append([]byte(" [ "), bytes.Join(elements, []byte(" ,\n "))...), " ] "...)
}

func TestBatchAsync(t *testing.T) {
	f := newFixture(t, setup{})
	var got batchReceipt
	events := batch(f.signed(), f.signed())
	a := f.post(typeDSSEBatch, events, "Prefer", "respond-async").want(http.StatusOK).wantHeader("Preference-Applied", "respond-async")
	a.decode(&got)
	if got.Checkpoint != "" || len(got.Entries) != 2 || got.Entries[0].Status != 202 || got.Entries[1].Status != 202 || got.Entries[0].Proof != nil {
		t.Errorf("answer %+v", got)
	}
	f.post(typeDSSEBatch, events).want(http.StatusOK)
	f.post(typeDSSEBatch, events, "Prefer", "respond-async").want(http.StatusOK).wantHeader("Preference-Applied", "")
}

func TestEmptyBatch(t *testing.T) {
	f := newFixture(t, setup{})
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
	var got batchReceipt
	f.post(typeDSSEBatch, []byte("[]")).want(http.StatusOK).decode(&got)
	if len(got.Entries) != 0 || got.Checkpoint == "" {
		t.Errorf("answer %+v", got)
	}
}

// TestBatchWithAuthority: what stands behind an authority event in a batch is
// decided with it in force.
func TestBatchWithAuthority(t *testing.T) {
	f := newFixture(t, setup{})
	console := testKey("console")
	registration := f.registration(f.header(), console, testConsole)
	before := f.envelope(f.payload(paused(testConsole), pausedData), console)
	after := f.envelope(f.payload(paused(testConsole), pausedData), console)
	var got batchReceipt
	f.post(typeDSSEBatch, batch(before, registration, after)).want(http.StatusOK).decode(&got)
	if len(got.Entries) != 3 || got.Entries[0].Status != 401 || got.Entries[1].Status != 201 || got.Entries[2].Status != 201 {
		t.Errorf("entries %+v; want the one before its key refused, the others logged", got.Entries)
	}
}

func TestUnsigned(t *testing.T) {
	f := newFixture(t, setup{genesis: func(g *event.Genesis) { g.AllowUnsigned = true }})
	payload := f.payload(paused(testConsole), pausedData)
	r := f.post(typeEvent, payload).want(http.StatusCreated).receipt()
	leaf := f.get(fmt.Sprintf("/v1/entries/%d", r.Index), "Accept", typeLeaf).want(http.StatusOK).body
	e, err := entry.Parse(leaf)
	f.must(err)
	if !bytes.Equal(e.Payload, payload) || len(e.Signatures) != 0 {
		t.Errorf("payload %s with %d signatures, want exactly the body and none", e.Payload, len(e.Signatures))
	}
	f.post(typeEvent+"; charset=utf-8", payload).want(http.StatusOK)

	// A source that has a key must use it.
	f.post(typeEvent, f.payload(paused(testGateway), pausedData)).wantProblem(http.StatusUnauthorized, event.SlugUnsigned)

	// And what was logged before it had one is still found.
	f.register(testKey("console"), testConsole)
	f.post(typeEvent, f.payload(paused(testConsole), pausedData)).wantProblem(http.StatusUnauthorized, event.SlugUnsigned)
	if again := f.post(typeEvent, payload).want(http.StatusOK).receipt(); again.Index != r.Index {
		t.Errorf("index %d, want %d", again.Index, r.Index)
	}
}

func TestUnsignedBatch(t *testing.T) {
	f := newFixture(t, setup{genesis: func(g *event.Genesis) { g.AllowUnsigned = true }})
	payloads := [][]byte{f.payload(paused(testConsole), pausedData), f.payload(paused(testConsole), pausedData)}
	twice := []byte(`{"specversion":"1.0","specversion":"1.0"}`)
	var got batchReceipt
	f.post(typeBatch, batch(payloads[0], twice, payloads[1])).want(http.StatusOK).decode(&got)
	if len(got.Entries) != 3 || got.Entries[0].Status != 201 || got.Entries[1].Status != 400 || got.Entries[2].Status != 201 {
		t.Fatalf("entries %+v", got.Entries)
	}
	leaf := f.get(fmt.Sprintf("/v1/entries/%d", *got.Entries[2].Index), "Accept", typeLeaf).want(http.StatusOK).body
	e, err := entry.Parse(leaf)
	f.must(err)
	if !bytes.Equal(e.Payload, payloads[1]) {
		t.Errorf("payload %s, want exactly the bytes of the element", e.Payload)
	}
}

// TestBinaryMode: attributes in headers become structured JSON in the order of
// their names, then data.
func TestBinaryMode(t *testing.T) {
	f := newFixture(t, setup{genesis: func(g *event.Genesis) { g.AllowUnsigned = true }})
	id, at := newID(), time.Now().UTC().Format(time.RFC3339)
	headers := []string{
		"ce-specversion", "1.0", "ce-id", id, "ce-source", testConsole, "ce-type", typePaused,
		"ce-subject", "session/s%2D1", "ce-time", at, "ce-recordedtime", at, "ce-dataschema", event.SchemaID(typePaused),
	}
	data := `{"session_id": "s-1", "reason": "l", "paused_by": null}`
	r := f.post("application/json", []byte(data), headers...).want(http.StatusCreated).receipt()
	leaf := f.get(fmt.Sprintf("/v1/entries/%d", r.Index), "Accept", typeLeaf).want(http.StatusOK).body
	e, err := entry.Parse(leaf)
	f.must(err)
	want := fmt.Sprintf(`{"datacontenttype":"application/json","dataschema":%q,"id":%q,"recordedtime":%q,"source":%q,"specversion":"1.0","subject":"session/s-1","time":%q,"type":%q,"data":%s}`,
		event.SchemaID(typePaused), id, at, testConsole, at, typePaused, data)
	if string(e.Payload) != want {
		t.Errorf("payload\n%s\nwant\n%s", e.Payload, want)
	}
	f.post("application/json", []byte(data), headers...).want(http.StatusOK)
	// What says that JSON is UTF-8 is the same event; another parameter is not.
	f.post("application/json; charset=UTF-8", []byte(data), headers...).want(http.StatusOK)
	f.post("application/json; version=1", []byte(data), headers...).wantProblem(http.StatusBadRequest, event.SlugMalformed)
	f.post("application/json; charset=latin1", []byte(data), headers...).wantProblem(http.StatusUnsupportedMediaType, "unsupported-media-type")
}

// readEvidence decodes all that is kept.
func (f *fixture) readEvidence() []conflictRecord {
	f.Helper()
	var records []conflictRecord
	f.must(f.log.Evidence(f.Context(), func(e log.Evidence) error {
		var r conflictRecord
		if e.Kind != EvidenceConflict {
			return nil
		}
		if err := json.Unmarshal(e.Record, &r); err != nil {
			return err
		}
		records = append(records, r)
		return nil
	}))
	return records
}
