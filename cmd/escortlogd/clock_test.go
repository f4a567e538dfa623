package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestClockSetBack: with its clock a year behind its newest leaf the log takes
// nothing, writes and signs no wrong time, and says what to do.
func TestClockSetBack(t *testing.T) {
	dir, _ := makeLogAhead(t, 300, 365*24*time.Hour)
	d := &damagedLog{T: t, dir: dir}
	d.writeServerFiles()
	s, err := d.open(io.Discard)
	d.must(err)
	defer s.close()
	head := s.log.Head()
	for _, ask := range []struct{ method, path, says string }{
		{http.MethodGet, "/readyz", "the clock is behind the log"},
		{http.MethodGet, "/readyz", "Set the clock, or wait"},
		{http.MethodPost, "/v1/events", "urn:escortlog:problem:clock-behind"},
	} {
		w := d.ask(s, ask.method, ask.path, d.event(0), "Content-Type", "application/cloudevents+json")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), ask.says) {
			t.Errorf("%s %s: %d %s", ask.method, ask.path, w.Code, w.Body)
		}
	}
	// Reads go on: what is committed is published, whatever the clock says.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		w := d.ask(s, http.MethodGet, "/checkpoint", nil)
		if w.Code == http.StatusOK && strings.Contains(w.Body.String(), fmt.Sprintf("\n%d\n", head.Size)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a checkpoint is answered %d %s", w.Code, w.Body)
		}
	}
	if s.log.Head() != head {
		t.Errorf("the head has moved to %+v", s.log.Head())
	}
}
