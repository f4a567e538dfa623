package rules

import (
	"cmp"
	"container/heap"
	"time"
)

// dueItem is a session or change and when it is looked at again.
type dueItem struct {
	at      time.Time
	session bool
	id      string
}

// dueHeap holds what is to be settled, the earliest first. Its order is total,
// so that settling does not depend on anything but the log.
type dueHeap struct{ items dueItems }

func (h *dueHeap) push(d dueItem) { heap.Push(&h.items, d) }

// pop takes out the earliest item that is due before now.
func (h *dueHeap) pop(now time.Time) (dueItem, bool) {
	if len(h.items) == 0 || !h.items[0].at.Before(now) {
		return dueItem{}, false
	}
	return heap.Pop(&h.items).(dueItem), true
}

type dueItems []dueItem

func (d dueItems) Len() int      { return len(d) }
func (d dueItems) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *dueItems) Push(x any)   { *d = append(*d, x.(dueItem)) }
func (d *dueItems) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func (d dueItems) Less(i, j int) bool {
	a, b := d[i], d[j]
	if c := a.at.Compare(b.at); c != 0 {
		return c < 0
	}
	if a.session != b.session {
		return a.session
	}
	return cmp.Less(a.id, b.id)
}
