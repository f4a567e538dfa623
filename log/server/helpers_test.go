package server

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage/memory"
)

const (
	testOrigin  = "log.example.org/test"
	testGateway = "https://gateway.example.org"
	testConsole = "https://console.example.org"
	typePaused  = "dev.escortlog.session.paused.v1"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// fixture is a real log in memory behind a real server on the loopback.
type fixture struct {
	testing.TB
	disk    *memory.Disk
	log     *log.Log
	server  *Server
	policy  *checkpoint.Policy
	signers []*checkpoint.Signer
	url     string
	client  *http.Client
	stop    func() error // ends Serve and returns its error
	ended   func() error // waits for Serve to end by itself and returns its error

	admin, gateway crypto.Signer
}

// setup is what a test changes of the fixture.
type setup struct {
	genesis func(*event.Genesis)
	config  func(*Config)
	log     func(*log.Config)
	wrap    func(*log.Log) Log // puts something between server and log
	bare    bool               // registers no key for the gateway
}

var eventCounter atomic.Uint64

// newID returns a fresh UUIDv7.
func newID() string {
	var random [10]byte
	binary.BigEndian.PutUint64(random[2:], eventCounter.Add(1))
	return event.NewUUIDv7(1_700_000_000_000, random)
}

// testKey returns the key of that name, the same each time.
func testKey(name string) crypto.Signer {
	seed := sha256.Sum256([]byte("log/server test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(t testing.TB, key crypto.Signer) *event.PublicKey {
	t.Helper()
	public, err := event.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func newFixture(t testing.TB, s setup) *fixture {
	t.Helper()
	f := &fixture{TB: t, disk: memory.NewDisk(), admin: testKey("admin"), gateway: testKey("gateway")}
	f.createLog(s)
	if s.wrap == nil {
		s.wrap = func(l *log.Log) Log { return l }
	}
	config := Config{Log: s.wrap(f.log), Policy: f.policy, Now: time.Now}
	for _, signer := range f.signers {
		config.VKeys = append(config.VKeys, signer.VKey())
	}
	config.PolicyText = "log " + config.VKeys[0] + "\nquorum none\n"
	if testing.Verbose() {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if s.config != nil {
		s.config(&config)
	}
	var err error
	if f.server, err = New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	f.serve()
	if !s.bare {
		f.register(f.gateway, testGateway)
	}
	return f
}

// createLog makes the log and opens it.
func (f *fixture) createLog(s setup) {
	f.Helper()
	ctx := context.Background()
	seeds := rand.NewChaCha8(sha256.Sum256([]byte(f.Name())))
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgMLDSA44} {
		signer, err := checkpoint.GenerateSigner(testOrigin, alg, seeds)
		f.must(err)
		f.signers = append(f.signers, signer)
	}
	genesis := event.Genesis{Origin: testOrigin, Administrators: []event.Administrator{{Name: "admin", Key: publicKey(f, f.admin)}}}
	if s.genesis != nil {
		s.genesis(&genesis)
	}
	now := time.Now()
	payload, err := event.NewLogCreated(newID(), now, genesis)
	f.must(err)
	ev, err := event.Parse(payload)
	f.must(err)
	leaf, err := (&entry.Entry{Time: now.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	f.must(err)
	store, err := f.disk.Open()
	f.must(err)
	head, err := log.Create(ctx, store, leaf, entry.Identity(ev.Source, ev.ID))
	f.must(err)

	f.policy, err = checkpoint.ParsePolicy([]byte("log " + f.signers[0].VKey() + "\nlog " + f.signers[1].VKey() + "\nquorum none\n"))
	f.must(err)
	config := log.Config{
		Origin: testOrigin, Store: store, Guard: log.NewMemoryGuard(head), Signers: f.signers, Policy: f.policy,
	}
	if s.log != nil {
		s.log(&config)
	}
	f.log, err = log.Open(ctx, config)
	f.must(err)
	f.Cleanup(func() {
		f.must(f.log.Close())
		f.disk.Crash()
	})
}

// serve starts the server; it is stopped when the test ends, or by stop.
func (f *fixture) serve() {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ctx, l, nil) }()
	f.ended = sync.OnceValue(func() error { return <-served })
	f.stop = func() error {
		cancel()
		return f.ended()
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	f.url, f.client = "http://"+l.Addr().String(), &http.Client{Transport: transport, Timeout: 2 * patience}
	f.Cleanup(func() {
		transport.CloseIdleConnections()
		f.stop() // its error is for the tests that ask
	})
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// paused is a small event with a schema.
func paused(source string) event.Attributes {
	return event.Attributes{ID: newID(), Source: source, Type: typePaused, Subject: "session/s-1", Time: time.Now()}
}

var pausedData = map[string]any{"session_id": "s-1", "reason": "lunch", "paused_by": nil}

func (f *fixture) payload(a event.Attributes, data any) []byte {
	f.Helper()
	p, err := event.Build(a, data)
	f.must(err)
	return p
}

// envelope signs a payload with the keys.
func (f *fixture) envelope(payload []byte, keys ...crypto.Signer) []byte {
	f.Helper()
	v := entry.Envelope{PayloadType: entry.PayloadType, Payload: payload}
	for _, key := range keys {
		sig, err := event.Sign(key, entry.PayloadType, payload)
		f.must(err)
		v.Signatures = append(v.Signatures, sig)
	}
	return v.Marshal()
}

// signed is a fresh event of the gateway in its envelope.
func (f *fixture) signed() []byte {
	return f.envelope(f.payload(paused(testGateway), pausedData), f.gateway)
}

// header is the header of the next authority event.
func (f *fixture) header() event.Header {
	f.Helper()
	dir, err := f.server.door.current(context.Background())
	f.must(err)
	return event.Header{ID: newID(), Time: time.Now(), Origin: testOrigin, Prev: dir.Prev()}
}

func (f *fixture) registration(h event.Header, key crypto.Signer, source string, types ...string) []byte {
	f.Helper()
	p, err := event.NewKeyRegistered(h, event.KeyRegistration{Key: publicKey(f, key), Source: source, Types: types})
	f.must(err)
	return f.envelope(p, f.admin)
}

// register registers a key and expects that to succeed.
func (f *fixture) register(key crypto.Signer, source string, types ...string) {
	f.Helper()
	f.post(typeDSSE, f.registration(f.header(), key, source, types...)).want(http.StatusCreated)
}

func (f *fixture) revocation(h event.Header, key crypto.Signer) []byte {
	f.Helper()
	p, err := event.NewKeyRevoked(h, event.Revocation{KeyID: publicKey(f, key).KeyID(), Reason: event.Superseded})
	f.must(err)
	return f.envelope(p, f.admin)
}

// answer is a response read to its end.
type answer struct {
	f      *fixture
	status int
	header http.Header
	body   []byte
}

// request sends a request; headers are name and value in turn.
func (f *fixture) request(method, path string, body io.Reader, headers ...string) *answer {
	f.Helper()
	a, err := f.try(method, path, body, headers...)
	f.must(err)
	return a
}

func (f *fixture) try(method, path string, body io.Reader, headers ...string) (*answer, error) {
	req, err := http.NewRequest(method, f.url+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &answer{f: f, status: resp.StatusCode, header: resp.Header, body: b}, err
}

func (f *fixture) get(path string, headers ...string) *answer {
	f.Helper()
	return f.request(http.MethodGet, path, nil, headers...)
}

func (f *fixture) post(contentType string, body []byte, headers ...string) *answer {
	f.Helper()
	return f.request(http.MethodPost, "/v1/events", bytes.NewReader(body), append(headers, "Content-Type", contentType)...)
}

// want checks the status.
func (a *answer) want(status int) *answer {
	a.f.Helper()
	if a.status != status {
		a.f.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// wantProblem checks the status and the type of a problem document.
func (a *answer) wantProblem(status int, slug string) *problem {
	a.f.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		a.f.Fatalf("status %d, want %d %s: not a problem document: %s", a.status, status, slug, a.body)
	}
	if a.status != status || p.Status != status || p.Type != problemPrefix+slug {
		a.f.Fatalf("status %d, problem %s: %s; want %d %s", a.status, p.Type, p.Detail, status, slug)
	}
	if p.Title == "" || a.header.Get("Cache-Control") != "no-store" {
		a.f.Errorf("problem %s without a title or cacheable", slug)
	}
	return &p
}

// wantHeader checks one header.
func (a *answer) wantHeader(name, value string) *answer {
	a.f.Helper()
	if got := a.header.Get(name); got != value {
		a.f.Errorf("%s: %q, want %q", name, got, value)
	}
	return a
}

// decode decodes a JSON answer strictly.
func (a *answer) decode(v any) {
	a.f.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		a.f.Fatalf("answer %s: %v", a.body, err)
	}
}

// receipt decodes a JSON receipt.
func (a *answer) receipt() receipt {
	a.f.Helper()
	var r receipt
	a.decode(&r)
	return r
}

// eventually waits for what must come to be.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// receipt is what a submitter gets.
type receipt struct {
	Index      int64    `json:"index"`
	LeafHash   []byte   `json:"leafHash"`
	Time       int64    `json:"time"` // ms since the epoch, as in the leaf
	Checkpoint string   `json:"checkpoint,omitempty"`
	Proof      [][]byte `json:"proof,omitzero"` // from leaf to root; empty for a log of one leaf, absent when not yet proven
}

// batchReceipt is the answer to a batch.
type batchReceipt struct {
	Checkpoint string       `json:"checkpoint,omitempty"`
	Entries    []batchEntry `json:"entries"`
}

// batchEntry is a receipt or a problem, with its own status.
type batchEntry struct {
	Status   int      `json:"status"`
	Index    *int64   `json:"index,omitempty"`
	LeafHash []byte   `json:"leafHash,omitempty"`
	Time     *int64   `json:"time,omitempty"`
	Proof    [][]byte `json:"proof,omitzero"`

	Type    string `json:"type,omitempty"`
	Title   string `json:"title,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Pointer string `json:"pointer,omitempty"`
}
