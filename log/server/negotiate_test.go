package server

import (
	"net/http"
	"testing"
	"time"
)

func requestWith(header string, values ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for _, v := range values {
		r.Header.Add(header, v)
	}
	return r
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		accept []string
		want   string
	}{
		{nil, typeJSON},
		{[]string{""}, typeJSON},
		{[]string{"*/*"}, typeJSON},
		{[]string{"text/plain"}, typeText},
		{[]string{"TEXT/Plain; charset=utf-8"}, typeText},
		{[]string{"text/*"}, typeText},
		{[]string{"application/json, text/plain"}, typeJSON},
		{[]string{"application/json;q=0.5, text/plain"}, typeText},
		{[]string{"application/json;q=0.5", "text/plain;q=0.6"}, typeText},
		{[]string{"*/*, text/plain;q=0"}, typeJSON},
		{[]string{"*/*;q=0.1, application/json;q=0"}, typeText},
		{[]string{"text/plain;q=2"}, typeJSON},
		{[]string{"image/png"}, typeJSON},
		{[]string{";;;,,,q=1"}, typeJSON},
	} {
		if got := negotiate(requestWith("Accept", c.accept...), typeJSON, typeText); got != c.want {
			t.Errorf("Accept %q: got %s, want %s", c.accept, got, c.want)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"identity"}, false},
		{[]string{"deflate, gzip;q=0.5, br"}, true},
		{[]string{"br", "gzip"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"*, gzip;q=0"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
	} {
		if got := acceptsGzip(requestWith("Accept-Encoding", c.header...)); got != c.want {
			t.Errorf("Accept-Encoding %q: got %v, want %v", c.header, got, c.want)
		}
	}
}

func TestParsePrefer(t *testing.T) {
	var limits Limits
	limits.setDefaults()
	for _, c := range []struct {
		prefer  []string
		wait    time.Duration
		async   bool
		applied string // of an answer without a proof
		proven  string // of one with it
	}{
		{nil, 10 * time.Second, false, "", ""},
		{[]string{"respond-async"}, 0, true, "respond-async", ""},
		{[]string{"Respond-Async; foo=bar"}, 0, true, "respond-async", ""},
		{[]string{"wait=3"}, 3 * time.Second, false, "wait=3", "wait=3"},
		{[]string{`wait="3"`}, 3 * time.Second, false, "wait=3", "wait=3"},
		{[]string{"wait = 0"}, 0, false, "wait=0", "wait=0"},
		{[]string{"wait=100000"}, time.Minute, false, "wait=60", "wait=60"},
		{[]string{"respond-async, wait=2"}, 2 * time.Second, false, "respond-async, wait=2", "wait=2"},
		{[]string{"respond-async", "wait=0"}, 0, true, "respond-async, wait=0", "wait=0"},
		{[]string{"wait=1, wait=2"}, time.Second, false, "wait=1", "wait=1"},
		{[]string{"wait=-1"}, 10 * time.Second, false, "", ""},
		{[]string{"wait=99999999999999999999"}, 10 * time.Second, false, "", ""},
		{[]string{"wait=soon, handling=strict"}, 10 * time.Second, false, "", ""},
	} {
		p := parsePrefer(requestWith("Prefer", c.prefer...), limits)
		applied, proven := make(http.Header), make(http.Header)
		p.setApplied(applied, false)
		p.setApplied(proven, true)
		if p.wait != c.wait || p.async() != c.async || applied.Get("Preference-Applied") != c.applied || proven.Get("Preference-Applied") != c.proven {
			t.Errorf("Prefer %q: got %+v, applied %v, with a proof %v", c.prefer, p, applied, proven)
		}
	}
}

func TestMediaType(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
		ok     bool
	}{
		{nil, "", true},
		{[]string{"application/vnd.dsse+json"}, typeDSSE, true},
		{[]string{"Application/VND.DSSE+JSON; charset=UTF-8"}, typeDSSE, true},
		{[]string{"application/vnd.dsse+json; charset=latin1"}, "", false},
		{[]string{"application/vnd.dsse+json", "text/plain"}, "", false},
		{[]string{"/"}, "", false},
	} {
		got, err := mediaType(requestWith("Content-Type", c.values...))
		if (err == nil) != c.ok || (c.ok && got != c.want) {
			t.Errorf("Content-Type %q: got %q, %v", c.values, got, err)
		}
	}
}

func TestDecodeHeader(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"a+b":              "a+b",
		"Euro%20%E2%82%AC": "Euro €",
		`"quoted \"x\""`:   `quoted "x"`,
		`"`:                `"`,
		"":                 "",
	} {
		if got, err := decodeHeader(in); err != nil || got != want {
			t.Errorf("decodeHeader(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := decodeHeader("%zz"); err == nil {
		t.Error("a broken percent-encoding was accepted")
	}
}
