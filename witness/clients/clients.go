package clients

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultRate is how many requests a second of one address may fail for long.
	DefaultRate = 50
	// burst is how many seconds' worth may fail at once.
	burst = 20

	// maxKnown is how many addresses are remembered.
	maxKnown   = 1 << 16
	sweepEvery = time.Second
)

// Config of a Budget. All fields may be left zero.
type Config struct {
	Rate    float64        // failures a second of one address; 0: DefaultRate, less: no limit
	Trusted []netip.Prefix // of proxies whose X-Forwarded-For is believed, beside loopback
	Now     func() time.Time
}

// Budget is the budgets of all addresses. Its methods may be used concurrently.
type Budget struct {
	Config
	max int // maxKnown, but in tests

	mu       sync.Mutex
	known    map[netip.Addr]*rate.Limiter
	overflow *rate.Limiter // shared by new addresses while there is no room for more
	swept    time.Time
}

// New returns a full budget for everybody.
func New(c Config) *Budget {
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Budget{Config: c, max: maxKnown, known: map[netip.Addr]*rate.Limiter{}}
	b.overflow = b.full()
	return b
}

func (b *Budget) full() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(b.Rate), max(1, int(burst*b.Rate)))
}

// Allowed reports whether this address may ask, and if not, after what time it may.
func (b *Budget) Allowed(addr netip.Addr) (ok bool, after time.Duration) {
	if b.unlimited(addr) {
		return true, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.known[addr]
	if !ok {
		if len(b.known) < b.max {
			return true, 0
		}
		l = b.overflow
	}
	if left := l.TokensAt(b.Now()); left < 1 {
		return false, time.Duration((1 - left) / b.Rate * float64(time.Second))
	}
	return true, 0
}

// Failed charges one failure to this address.
func (b *Budget) Failed(addr netip.Addr) {
	if b.unlimited(addr) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.known[addr]
	if !ok {
		l = b.overflow
		if len(b.known) < b.max || b.sweep() {
			l = b.full()
			b.known[addr] = l
		}
	}
	l.AllowN(b.Now(), 1)
}

func (b *Budget) unlimited(addr netip.Addr) bool {
	return b.Rate < 0 || addr.IsLoopback()
}

// sweep forgets the addresses that have their whole budget back and reports whether there is room
// now. It looks at all of them, so it does not do that for each request of a flood.
func (b *Budget) sweep() bool {
	now := b.Now()
	if now.Sub(b.swept) < sweepEvery {
		return false
	}
	b.swept = now
	for addr, l := range b.known {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(b.known, addr)
		}
	}
	return len(b.known) < b.max
}

// Addr returns the address that a request is charged to.
func (b *Budget) Addr(r *http.Request) netip.Addr {
	addr := hostOf(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	// From the right: what a client writes there itself stands further left.
	for i := len(hops) - 1; i >= 0 && b.trusts(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	if addr.Is6() && !addr.IsLoopback() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

func hostOf(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{} // of all who have none
	}
	return addr.Unmap().WithZone("")
}

func (b *Budget) trusts(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	for _, p := range b.Trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ParsePrefix reads a CIDR prefix, or an address, which is a prefix of that address only.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}
