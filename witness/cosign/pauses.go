package cosign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// After a failure a witness rests for a while that doubles from minRest to maxRest.
	minRest = 100 * time.Millisecond
	maxRest = 10 * time.Second
	// maxRetryAfter bounds the rest that a witness asks for itself.
	maxRetryAfter = time.Minute
	// patience is the rest that a round still waits for, and attempts how often it asks.
	patience = time.Second
	attempts = 4
)

// errRest says that the witness asked to be left alone for a while.
type errRest struct {
	status int
	after  time.Duration
}

func (e *errRest) Error() string { return fmt.Sprintf("answered %d", e.status) }

// errFinal says that asking again for the same checkpoint is no use.
type errFinal struct{ error }

func (e errFinal) Unwrap() error { return e.error }

// pauses is when somebody who failed may be asked again.
type pauses struct {
	now func() time.Time

	mu       sync.Mutex
	failures int       // in a row
	restsTo  time.Time // do not ask before
}

// rest waits while the other side is left alone, and reports whether it may be asked now.
func (p *pauses) rest(ctx context.Context) bool {
	p.mu.Lock()
	wait := p.restsTo.Sub(p.now())
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	if wait > patience {
		return false // the next round asks again
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *pauses) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := min(minRest<<min(p.failures, 16), maxRest)
	pause = pause/2 + rand.N(pause/2+1) // so that many logs do not come back together
	p.failures++
	if rest := new(errRest); errors.As(err, &rest) {
		pause = max(pause, min(rest.after, maxRetryAfter))
	}
	p.restsTo = p.now().Add(pause)
}

func (p *pauses) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures, p.restsTo = 0, time.Time{}
}
