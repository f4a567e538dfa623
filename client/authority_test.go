package client

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// authorityLog is a fake log with a chain of authority events: prev is the last.
func authorityLog(t *testing.T, prev *string) *fakeLog {
	f := newFakeLog(t)
	f.before = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path != "/v1/log" {
			return false
		}
		fmt.Fprintf(w, `{"origin":%q,"authority":{"covered":1,"prev":%q}}`, testOrigin, *prev)
		return true
	}
	f.judge = func(_ int, body []byte) *Problem {
		v, err := entry.ParseEnvelope(body)
		if err != nil {
			t.Error(err)
			return nil
		}
		if strings.Contains(string(v.Payload), *prev) {
			return nil
		}
		return &Problem{Type: "urn:escortlog:problem:" + event.SlugStaleAuthority, Status: 409}
	}
	return f
}

func registration(t *testing.T) func(event.Header) ([]byte, error) {
	t.Helper()
	key, err := event.NewPublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return func(h event.Header) ([]byte, error) {
		return event.NewKeyRegistered(h, event.KeyRegistration{Key: key, Source: "urn:example:gateway"})
	}
}

// TestAnOvertakenAuthorityEventIsBuiltAnew: on the newest one, with a new id.
func TestAnOvertakenAuthorityEventIsBuiltAnew(t *testing.T) {
	prev := strings.Repeat("01", 32)
	f := authorityLog(t, &prev)
	build, built := registration(t), 0
	receipt, err := f.submitter().SubmitAuthority(t.Context(), func(h event.Header) ([]byte, error) {
		if built++; built <= 2 {
			defer func() { prev = strings.Repeat(fmt.Sprintf("%02x", built+1), 32) }()
		}
		return build(h)
	}, testKey)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entry.Parse(receipt.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := event.Parse(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ Log, Prev string }
	if err := json.Unmarshal(ev.Data, &data); err != nil {
		t.Fatal(err)
	}
	if built != 3 || data.Prev != prev || data.Log != testOrigin || len(f.leaves) != 1 {
		t.Errorf("built %d times, %+v", built, data)
	}
}

func TestAnAuthorityEventThatIsRefusedIsNotRepeated(t *testing.T) {
	prev := strings.Repeat("01", 32)
	f := authorityLog(t, &prev)
	f.judge = func(int, []byte) *Problem { return &Problem{Type: "urn:escortlog:problem:not-admin", Status: 403} }
	var refused *RefusedError
	if _, err := f.submitter().SubmitAuthority(t.Context(), registration(t), testKey); !errors.As(err, &refused) || len(f.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(f.requests))
	}
	// Nor is one that is always overtaken repeated for ever.
	f.judge = func(int, []byte) *Problem {
		return &Problem{Type: "urn:escortlog:problem:" + event.SlugStaleAuthority, Status: 409}
	}
	f.requests = nil
	if _, err := f.submitter().SubmitAuthority(t.Context(), registration(t), testKey); !errors.As(err, &refused) || len(f.requests) != maxRebuilds {
		t.Errorf("%v after %d requests", err, len(f.requests))
	}
}

func TestAuthorityHeadIsChecked(t *testing.T) {
	prev := strings.Repeat("01", 32)
	f := authorityLog(t, &prev)
	s := f.submitter()
	s.Policy = f.policy()
	head, err := s.AuthorityHead(t.Context())
	if err != nil || head.Origin != testOrigin || head.Covered != 1 || head.Prev[31] != 1 {
		t.Errorf("%+v, %v", head, err)
	}
	for name, answer := range map[string]string{
		"another log":  `{"origin":"log.example.org/another","authority":{"covered":1,"prev":"` + prev + `"}}`,
		"no origin":    `{"authority":{"covered":1,"prev":"` + prev + `"}}`,
		"a short prev": `{"origin":"` + testOrigin + `","authority":{"covered":1,"prev":"0101"}}`,
		"no JSON":      `<html>`,
	} {
		f.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			fmt.Fprint(w, answer)
			return true
		}
		if head, err := s.AuthorityHead(t.Context()); err == nil {
			t.Errorf("%s: %+v", name, head)
		}
	}
}
