package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress shows a count on a terminal, on a line of its own that is wiped
// before anything else is printed. Elsewhere it shows nothing.
type progress struct {
	w     io.Writer // nil: not a terminal
	what  string
	count int64
	begun time.Time
	shown time.Time
	line  bool // the line stands on the terminal
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, begun: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// add counts n more and shows the count, a few times a second.
func (p *progress) add(n int64) {
	p.count += n
	if p.w == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown, p.line = time.Now(), true
	rate := float64(p.count) / max(time.Since(p.begun).Seconds(), 0.001)
	fmt.Fprintf(p.w, "\r\x1b[K%s %d (%.0f/s)", p.what, p.count, rate)
}

// hide wipes the line, so that something else can be printed.
func (p *progress) hide() {
	if p.line {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.line = false
	}
}

// done wipes the line for good.
func (p *progress) done() { p.hide() }

// printJSON prints v as one line.
func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
