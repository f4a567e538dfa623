package mirror

import (
	"net/http"
	"net/netip"
	"sync"
)

// Uploads that run at once, each of which holds one package of at most 16 MiB: in all, for one log and
// from one address, so that neither a log nor a client keeps the others out.
const (
	maxUploads        = 16
	maxUploadsLog     = 8
	maxUploadsAddress = 4
)

// visitor is who uploads.
type visitor struct {
	addr netip.Addr
	more func() // is called before each package is read
}

// uploads are those under way.
type uploads struct {
	mu    sync.Mutex
	total int
	byLog map[string]int
	byWho map[netip.Addr]int
}

// enter admits one upload; whoever was admitted calls leave once. It is called when the
// log is known to be mirrored, so that the maps hold no strangers' words.
func (u *uploads) enter(origin string, who netip.Addr) (leave func(), refusal *answer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.total >= maxUploads:
		return nil, refuse(http.StatusServiceUnavailable, "too many uploads at once")
	case u.byLog[origin] >= maxUploadsLog:
		return nil, refuse(http.StatusServiceUnavailable, "too many uploads of this log at once")
	case u.byWho[who] >= maxUploadsAddress:
		return nil, refuse(http.StatusServiceUnavailable, "too many uploads from your address at once")
	}
	if u.byLog == nil {
		u.byLog, u.byWho = map[string]int{}, map[netip.Addr]int{}
	}
	u.total++
	u.byLog[origin]++
	u.byWho[who]++
	return func() { u.leave(origin, who) }, nil
}

func (u *uploads) leave(origin string, who netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.total--
	if u.byLog[origin]--; u.byLog[origin] == 0 {
		delete(u.byLog, origin)
	}
	if u.byWho[who]--; u.byWho[who] == 0 {
		delete(u.byWho, who)
	}
}
