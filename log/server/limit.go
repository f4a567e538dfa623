package server

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter keeps one client from hurting another. It bounds what all clients,
// and each client address, have under way, and how often an address may fail.
//
// It remembers at most maxClients addresses. One that has nothing under way and
// has its whole budget back is forgotten when room is needed; should there be
// none even then, new addresses share one budget.
type limiter struct {
	cfg Limits
	now func() time.Time

	mu        sync.Mutex // over all that follows and over the clients
	clients   map[netip.Addr]*client
	overflow  client
	lastSweep time.Time
	inFlight  int
	bytes     int64
}

// client is what is known of one address.
type client struct {
	failures *rate.Limiter
	inFlight int
	bytes    int64
}

const (
	maxClients    = 1 << 16
	sweepInterval = time.Second
)

func newLimiter(cfg Limits, now func() time.Time) *limiter {
	l := &limiter{cfg: cfg, now: now, clients: make(map[netip.Addr]*client)}
	l.overflow.failures = l.newBudget()
	return l
}

func (l *limiter) newBudget() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(l.cfg.FailuresPerSecond), l.cfg.FailureBurst)
}

// visit is one request that is under way. Its owner calls leave exactly once.
type visit struct {
	l *limiter
	c *client
	n int64 // bytes held
}

// enter admits a request from addr, or says when to try again.
func (l *limiter) enter(addr netip.Addr) (*visit, *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client(addr)
	now := l.now()
	if tokens := c.failures.TokensAt(now); tokens < 1 {
		wait := time.Duration((1 - tokens) / l.cfg.FailuresPerSecond * float64(time.Second))
		return nil, refuse("rate-limited", "Too many requests from your address have failed lately. Find out why before you send more.").after(wait)
	}
	if c.inFlight >= l.cfg.InFlightPerClient {
		return nil, refuse("rate-limited", "Your address has %d submissions under way, as many as one may have. Wait for some to be answered.", c.inFlight).after(time.Second)
	}
	if l.inFlight >= l.cfg.InFlight {
		return nil, refuse("overloaded", "The server has as many submissions under way as it takes.").after(time.Second)
	}
	c.inFlight++
	l.inFlight++
	return &visit{l: l, c: c}, nil
}

// hold accounts for n more bytes of memory held for the visit.
func (v *visit) hold(n int64) *refusal {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if v.l.bytes+n > v.l.cfg.BodyBytes {
		return refuse("overloaded", "The server holds as many bytes of submissions as it takes.").after(time.Second)
	}
	if v.c.bytes+n > v.l.cfg.BodyBytes/2 {
		return refuse("rate-limited", "Your address has as many bytes of submissions under way as one may have.").after(time.Second)
	}
	v.l.bytes += n
	v.c.bytes += n
	v.n += n
	return nil
}

// drop gives back the bytes the visit holds.
func (v *visit) drop() {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.dropLocked()
}

func (v *visit) dropLocked() {
	v.l.bytes -= v.n
	v.c.bytes -= v.n
	v.n = 0
}

// failed charges n failures to the client. The budget goes below zero, so that a
// batch is paid for in full, but never so far that paying takes longer than
// twice what filling the whole budget does.
func (v *visit) failed(n int) {
	if n == 0 {
		return
	}
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	now := v.l.now()
	debt := int(v.c.failures.TokensAt(now)) + v.l.cfg.FailureBurst // until the budget is as far below zero as it goes
	if n = min(n, debt); n > 0 {
		v.c.failures.ReserveN(now, min(n, v.l.cfg.FailureBurst))
	}
}

func (v *visit) leave() {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.dropLocked()
	v.c.inFlight--
	v.l.inFlight--
}

// client returns what is known of addr; the caller holds mu.
func (l *limiter) client(addr netip.Addr) *client {
	if c, ok := l.clients[addr]; ok {
		return c
	}
	if len(l.clients) >= maxClients && !l.sweep() {
		return &l.overflow
	}
	c := &client{failures: l.newBudget()}
	l.clients[addr] = c
	return c
}

// sweep forgets idle clients and reports whether there is room now. It looks at
// all of them, so it does not do that for every request of a flood.
func (l *limiter) sweep() bool {
	now := l.now()
	if now.Sub(l.lastSweep) < sweepInterval {
		return false
	}
	l.lastSweep = now
	for addr, c := range l.clients {
		if c.inFlight == 0 && c.failures.TokensAt(now) >= float64(l.cfg.FailureBurst) {
			delete(l.clients, addr)
		}
	}
	return len(l.clients) < maxClients
}

// clientAddr returns the address whose budget a request is charged to: the
// peer's, or, where the peer is a trusted proxy, the last address in
// X-Forwarded-For that is not one. What a client writes there itself stands
// further left and is not believed. An IPv6 address stands for its /64, the
// least that one customer gets.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := hostAddr(r.RemoteAddr)
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && isTrusted(addr, trusted); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

func hostAddr(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// load returns how many submissions are under way and the bytes they hold.
func (l *limiter) load() (inFlight int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight, l.bytes
}
