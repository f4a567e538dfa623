package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.UnixMilli(1_800_000_000_000)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func testLimiter(change func(*Limits)) (*limiter, *clock) {
	var l Limits
	if change != nil {
		change(&l)
	}
	l.setDefaults()
	c := newClock()
	return newLimiter(l, c.Now), c
}

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")

	loopbackPrefix = netip.MustParsePrefix("127.0.0.0/8")
)

func TestFailuresAreLimitedByAddress(t *testing.T) {
	l, clock := testLimiter(func(l *Limits) { l.FailuresPerSecond, l.FailureBurst = 10, 256 })
	v, refused := l.enter(alice)
	if refused != nil {
		t.Fatal(refused)
	}
	v.failed(256)
	v.leave()
	_, refused = l.enter(alice)
	if refused == nil || refused.slug != "rate-limited" || refused.retryAfter <= 0 {
		t.Fatalf("after a burst of failures: %v, want rate-limited with a time to come back", refused)
	}
	if _, refused := l.enter(bob); refused != nil {
		t.Fatalf("another address is refused, too: %v", refused)
	}
	clock.advance(refused.retryAfter)
	if v, refused = l.enter(alice); refused != nil {
		t.Fatalf("after the time it was told to wait: %v", refused)
	}
	v.leave()
}

// TestDebtIsBounded: many batches of failures judged at once do not lock an
// address out for hours.
func TestDebtIsBounded(t *testing.T) {
	l, clock := testLimiter(func(l *Limits) { l.FailuresPerSecond, l.FailureBurst = 10, 256 })
	var visits []*visit
	for range 100 {
		v, refused := l.enter(alice)
		if refused != nil {
			t.Fatal(refused)
		}
		visits = append(visits, v)
	}
	for _, v := range visits {
		v.failed(256)
		v.leave()
	}
	_, refused := l.enter(alice)
	if refused == nil || refused.retryAfter > 26*time.Second {
		t.Fatalf("after 25,600 failures: %+v, want to come back within the time that fills the budget", refused)
	}
	clock.advance(refused.retryAfter)
	if _, refused = l.enter(alice); refused != nil {
		t.Fatal(refused)
	}
}

func TestInFlightIsLimited(t *testing.T) {
	l, _ := testLimiter(func(l *Limits) { l.InFlight, l.InFlightPerClient = 3, 2 })
	var visits []*visit
	enter := func(addr netip.Addr) *refusal {
		v, refused := l.enter(addr)
		if refused == nil {
			visits = append(visits, v)
		}
		return refused
	}
	for range 2 {
		if refused := enter(alice); refused != nil {
			t.Fatal(refused)
		}
	}
	if refused := enter(alice); refused == nil || refused.slug != "rate-limited" {
		t.Fatalf("a third of one address: %v, want rate-limited", refused)
	}
	if refused := enter(bob); refused != nil {
		t.Fatal(refused)
	}
	if refused := enter(bob); refused == nil || refused.slug != "overloaded" {
		t.Fatalf("a fourth of all: %v, want overloaded", refused)
	}
	for _, v := range visits {
		v.leave()
	}
	if n, _ := l.load(); n != 0 {
		t.Fatalf("%d are in flight after all have left", n)
	}
	if refused := enter(alice); refused != nil {
		t.Fatalf("after all have left: %v", refused)
	}
}

func TestBytesAreLimited(t *testing.T) {
	l, _ := testLimiter(func(l *Limits) { l.BodyBytes = 100 })
	a, _ := l.enter(alice)
	b, _ := l.enter(bob)
	if refused := a.hold(50); refused != nil {
		t.Fatal(refused)
	}
	if refused := a.hold(1); refused == nil || refused.slug != "rate-limited" {
		t.Fatalf("more than half of the bytes for one address: %v, want rate-limited", refused)
	}
	if refused := b.hold(50); refused != nil {
		t.Fatal(refused)
	}
	if refused := b.hold(1); refused == nil || refused.slug != "overloaded" {
		t.Fatalf("more bytes than there are: %v, want overloaded", refused)
	}
	a.drop()
	a.leave()
	b.leave()
	if _, n := l.load(); n != 0 {
		t.Fatalf("%d bytes are held after all have left", n)
	}
}

func TestClientsAreForgotten(t *testing.T) {
	l, clock := testLimiter(nil)
	addr := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	busy, _ := l.enter(addr(0))
	failed, _ := l.enter(addr(1))
	failed.failed(500)
	failed.leave()
	for i := 2; i < maxClients; i++ {
		v, refused := l.enter(addr(i))
		if refused != nil {
			t.Fatal(refused)
		}
		v.leave()
	}
	clock.advance(2 * sweepInterval)
	v, _ := l.enter(addr(maxClients))
	v.leave()
	if len(l.clients) != 3 {
		t.Errorf("%d clients are remembered after a sweep, want the busy one, the one that failed and the new one", len(l.clients))
	}
	busy.leave()
}

func TestClientsAreBounded(t *testing.T) {
	l, _ := testLimiter(func(l *Limits) { l.InFlight = 2 * maxClients })
	for i := range maxClients + 10 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if _, refused := l.enter(addr); refused != nil {
			t.Fatal(refused)
		}
	}
	if len(l.clients) > maxClients {
		t.Errorf("%d clients are remembered, at most %d may be", len(l.clients), maxClients)
	}
	if l.overflow.inFlight != 10 {
		t.Errorf("%d visits share one budget, want 10", l.overflow.inFlight)
	}
}

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1234", "", "192.0.2.1"},
		{"192.0.2.1:1234", "198.51.100.1", "192.0.2.1"},
		{"127.0.0.1:1234", "", "127.0.0.1"},
		{"127.0.0.1:1234", "198.51.100.1", "198.51.100.1"},
		{"127.0.0.1:1234", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		{"127.0.0.1:1234", "203.0.113.9, 198.51.100.1, 10.1.2.3", "198.51.100.1"},
		{"127.0.0.1:1234", "nonsense", "127.0.0.1"},
		{"127.0.0.1:1234", "10.0.0.1", "10.0.0.1"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::"},
		{"pipe", "", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := fmt.Sprint(clientAddr(r, proxies)); got != c.want {
			t.Errorf("%s forwarded for %q: charged to %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}
