package clients

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func TestAddr(t *testing.T) {
	b := New(Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, tc := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1234", nil, "192.0.2.1"},
		{"192.0.2.1:1234", []string{"198.51.100.7"}, "192.0.2.1"}, // says who is not trusted
		{"10.1.2.3:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.1.2.3:1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"}, // the left one is the client's own word
		{"10.1.2.3:1", []string{"203.0.113.9", "198.51.100.7, 10.9.9.9"}, "198.51.100.7"},
		{"10.1.2.3:1", []string{"nonsense"}, "10.1.2.3"},
		{"127.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"127.0.0.1:1", nil, "127.0.0.1"},
		{"[2001:db8:1:2:3:4:5:6]:1", nil, "2001:db8:1:2::"},
		{"[::ffff:192.0.2.1]:1", nil, "192.0.2.1"},
		{"[::1]:1", nil, "::1"},
		{"[fe80::1%eth0]:1", nil, "fe80::"},
		{"@", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tc.remote, Header: http.Header{"X-Forwarded-For": tc.forwarded}}
		if got := b.Addr(r).String(); got != tc.want {
			t.Errorf("%s %q: %s, want %s", tc.remote, tc.forwarded, got, tc.want)
		}
	}
}

func TestBudget(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	b := New(Config{Rate: 2, Now: func() time.Time { return now }})
	bad, good := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 2 * burst {
		if ok, _ := b.Allowed(bad); !ok {
			t.Fatalf("turned away after %d failures", i)
		}
		b.Failed(bad)
	}
	ok, after := b.Allowed(bad)
	if ok || after <= 0 || after > time.Second {
		t.Errorf("after all failures: %v, %v", ok, after)
	}
	if ok, _ := b.Allowed(good); !ok {
		t.Error("one address pays for another")
	}
	now = now.Add(after)
	if ok, _ := b.Allowed(bad); !ok {
		t.Error("the budget does not come back")
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for range 100 {
			b.Failed(netip.MustParseAddr(addr))
		}
		if ok, _ := b.Allowed(netip.MustParseAddr(addr)); !ok {
			t.Error("loopback, behind which anybody may be, is limited")
		}
	}
	free := New(Config{Rate: -1})
	for range 100 {
		free.Failed(bad)
	}
	if ok, _ := free.Allowed(bad); !ok {
		t.Error("a limit where there is none")
	}
}

// However many addresses fail, the memory is bounded, and those who behave are forgotten first.
func TestBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	b := New(Config{Rate: 1, Now: func() time.Time { return now }})
	b.max = 100
	worst := netip.MustParseAddr("203.0.113.1")
	for range 2 * burst {
		b.Failed(worst)
	}
	for i := range 1000 {
		b.Failed(netip.MustParseAddr(fmt.Sprintf("192.0.%d.%d", i/250, i%250)))
	}
	if len(b.known) > b.max {
		t.Errorf("%d addresses are remembered", len(b.known))
	}
	if ok, _ := b.Allowed(worst); ok {
		t.Error("a flood makes the worst forgotten")
	}
	if ok, _ := b.Allowed(netip.MustParseAddr("198.51.100.1")); ok {
		t.Error("addresses there is no room for have no common budget")
	}
	now = now.Add(3 * time.Second)
	b.Failed(netip.MustParseAddr("198.51.100.1"))
	if len(b.known) != 2 {
		t.Errorf("%d addresses are remembered after a while, want the worst and the new one", len(b.known))
	}
}
