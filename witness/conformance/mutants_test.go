package conformance_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
	"github.com/escortlog/escortlog/witness/conformance"
)

// newWitness returns the handler of a correct witness that trusts the keys, and its verifiers.
func newWitness(t *testing.T, keys *conformance.Keys) (http.Handler, []*checkpoint.Verifier) {
	t.Helper()
	dir := t.TempDir() + "/w"
	vkeys, err := witness.Init(witness.InitConfig{Dir: dir, Name: "witness.example/w1", Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := witness.ParseLogList([]byte(keys.LogList()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := witness.AddLogs(dir, entries); err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(witness.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	var vs []*checkpoint.Verifier
	for _, s := range vkeys {
		v, err := checkpoint.ParseVKey(s)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, v)
	}
	return w.Handler(), vs
}

// respond makes a handler out of a change to the answers of another.
func respond(h http.Handler, change func(r *http.Request, body string, a *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		a := httptest.NewRecorder()
		h.ServeHTTP(a, r)
		change(r, string(body), a)
		for k, v := range a.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(a.Code)
		_, _ = w.Write(a.Body.Bytes())
	})
}

// status makes a mutant that answers with one status where it should with another.
func status(from, to int) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return respond(h, func(_ *http.Request, _ string, a *httptest.ResponseRecorder) {
			if a.Code == from {
				a.Code = to
			}
		})
	}
}

// request makes a mutant that sees other requests than were sent.
func request(change func(body string) string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(change(string(body))))
			h.ServeHTTP(w, r)
		})
	}
}

// Witnesses that are wrong in one way each: the suite must find which.
func TestMutants(t *testing.T) {
	for i, m := range []struct {
		name   string
		mutate func(http.Handler) http.Handler
		finds  []string
	}{
		{"403 for an unknown origin", status(404, 403), []string{"unknown-origin", "monitor-never-cosigned"}},
		{"400 for a bad signature", status(403, 400), []string{"broken-signature", "no-trusted-signature", "subtree-log-signature-only"}},
		{"409 for a bad proof", status(422, 409), []string{"wrong-proof", "fork-of-same-size", "size-zero-root", "subtree-no-proof"}},
		{"422 for a bad request", status(400, 422), []string{"old-larger-than-size", "subtree-not-aligned"}},
		{"500 for a bad request", status(400, 500), []string{"old-plus", "64-proof-lines", "empty-body"}},
		{"a conflict without its content type", func(h http.Handler) http.Handler {
			return respond(h, func(_ *http.Request, _ string, a *httptest.ResponseRecorder) {
				if a.Code == 409 {
					a.Header().Set("Content-Type", "text/plain")
				}
			})
		}, []string{"conflict-content-type"}},
		{"a conflict without its newline", func(h http.Handler) http.Handler {
			return respond(h, func(_ *http.Request, _ string, a *httptest.ResponseRecorder) {
				if a.Code == 409 {
					a.Body = bytes.NewBuffer(bytes.TrimSpace(a.Body.Bytes()))
				}
			})
		}, []string{"conflict"}},
		{"only the first cosignature", func(h http.Handler) http.Handler {
			return respond(h, func(r *http.Request, _ string, a *httptest.ResponseRecorder) {
				if r.URL.Path == "/add-checkpoint" && a.Code == 200 {
					line, _, _ := strings.Cut(a.Body.String(), "\n")
					a.Body = bytes.NewBufferString(line + "\n")
				}
			})
		}, []string{"signature-lines"}},
		{"a whole note instead of lines", func(h http.Handler) http.Handler {
			return respond(h, func(r *http.Request, body string, a *httptest.ResponseRecorder) {
				if r.URL.Path == "/add-checkpoint" && a.Code == 200 {
					_, note, _ := strings.Cut(body, "\n\n")
					a.Body = bytes.NewBufferString(note + a.Body.String())
				}
			})
		}, []string{"signature-lines"}},
		{"a monitoring endpoint without the log's signature", func(h http.Handler) http.Handler {
			return respond(h, func(r *http.Request, _ string, a *httptest.ResponseRecorder) {
				if text, lines, ok := strings.Cut(a.Body.String(), "\n\n"); r.Method == http.MethodGet && ok {
					_, lines, _ = strings.Cut(lines, "\n")
					a.Body = bytes.NewBufferString(text + "\n\n" + lines)
				}
			})
		}, []string{"monitor-checkpoint", "monitor-all-log-keys"}},
		{"carriage returns taken", request(func(b string) string { return strings.ReplaceAll(b, "\r\n", "\n") }), []string{"carriage-returns", "carriage-return-old"}},
		{"spaces taken", request(func(b string) string { return strings.Replace(b, "  ", " ", 1) }), []string{"old-two-spaces", "subtree-two-spaces"}},
		{"signs taken", request(func(b string) string { return strings.Replace(b, "old +", "old ", 1) }), []string{"old-plus"}},
		{"leading zeros taken", request(func(b string) string {
			if strings.HasPrefix(b, "old 0\n") {
				return b
			}
			return strings.Replace(b, "old 0", "old ", 1)
		}), []string{"old-leading-zero"}},
		{"a missing newline added", request(func(b string) string { return strings.TrimSuffix(b, "\n") + "\n" }), []string{"no-last-newline"}},
		{"10 KiB at most", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) > 10<<10 {
					http.Error(w, "too large", http.StatusRequestEntityTooLarge)
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				h.ServeHTTP(w, r)
			})
		}, []string{"sixteen-signatures"}},
		{"any method", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/add-") {
					r.Method = http.MethodPost
				}
				h.ServeHTTP(w, r)
			})
		}, []string{"post-only"}},
		{"no keep-alive", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close")
				h.ServeHTTP(w, r)
			})
		}, []string{"keep-alive"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			if testing.Short() && i%5 != 0 {
				t.Skip("not in short mode")
			}
			t.Parallel()
			keys, err := conformance.GenerateKeys()
			if err != nil {
				t.Fatal(err)
			}
			h, vs := newWitness(t, keys)
			s := httptest.NewServer(m.mutate(h))
			defer s.Close()
			failed := map[string]bool{}
			_, err = conformance.Run(t.Context(), conformance.Config{URL: s.URL, Keys: keys, Witness: vs}, func(r conformance.Result) {
				failed[r.ID] = failed[r.ID] || r.Verdict == conformance.Fail
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range m.finds {
				if !failed[id] {
					t.Errorf("check %s did not fail", id)
				}
			}
		})
	}
}

// Without a witness there is an error, not a list of failures.
func TestNoWitness(t *testing.T) {
	keys, err := conformance.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	_, vs := newWitness(t, keys)
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if _, err := conformance.Run(t.Context(), conformance.Config{URL: s.URL, Keys: keys, Witness: vs}, nil); err == nil {
		t.Error("no error from a server that is no witness")
	}
	if _, err := conformance.Run(t.Context(), conformance.Config{URL: s.URL, Keys: keys}, nil); err == nil {
		t.Error("no error without witness keys")
	}
}
