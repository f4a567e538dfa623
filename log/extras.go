package log

import (
	"context"
	"fmt"
	"sync"

	"github.com/escortlog/escortlog/storage"
)

// extra is a write that does not move the head: a sealed bundle, a published
// checkpoint, a piece of evidence. It rides along with the next commit, or has
// one of its own when nothing else is to be committed.
type extra struct {
	put    []storage.KV
	remove [][]byte
	done   chan error // receives the outcome; buffered
}

func (x extra) size() int64 {
	return (&storage.Batch{Put: x.put, Delete: x.remove}).Size()
}

// maxExtras bounds how many extras may wait. All but evidence are waited for by
// their makers, so there are never many.
const maxExtras = 64

type extras struct {
	maxBytes int64 // of those that ride along with one commit

	mu    sync.Mutex
	queue []extra
}

// add reports whether there was room.
func (e *extras) add(x extra) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) >= maxExtras || x.size() > e.maxBytes {
		return false
	}
	e.queue = append(e.queue, x)
	return true
}

// take removes and returns the oldest extras that fit into one commit.
func (e *extras) take() []extra {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(e.queue) {
		bytes += e.queue[n].size()
		if bytes > e.maxBytes {
			break
		}
		n++
	}
	taken := e.queue[:n:n]
	e.queue = e.queue[n:]
	return taken
}

func (e *extras) waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue) > 0
}

func resolveExtras(riding []extra, err error) {
	for _, x := range riding {
		x.done <- err
	}
}

// write makes an extra durable and returns its outcome.
func (l *Log) write(ctx context.Context, put []storage.KV, remove [][]byte) error {
	x := extra{put: put, remove: remove, done: make(chan error, 1)}
	if !l.extras.add(x) {
		return fmt.Errorf("%w: %d bytes, or too many writes before them", ErrFull, x.size())
	}
	l.pool.signal()
	select {
	case err := <-x.done:
		return err
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
