package month

import (
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client/view"
)

// TestViewsOfAMonth: views miss nothing of a month. What a session's timeline
// holds is what the list counts, and every leaf about a session is in one.
func TestViewsOfAMonth(t *testing.T) {
	t.Parallel()
	m := make1(t, Config{Seed: 5, Sessions: 45})
	lister := view.NewLister(view.Filter{})
	fold := func(to interface {
		Add(index int64, leaf []byte) error
	}) {
		t.Helper()
		for i, leaf := range m.Leaves {
			if err := to.Add(int64(i), leaf); err != nil {
				t.Fatal(err)
			}
		}
	}
	fold(lister)
	rows := lister.Sessions()
	refused := len(rows) - m.Sessions
	rows = slices.DeleteFunc(rows, func(r view.SessionRow) bool {
		return r.Requested != "" && r.Approved == "" && r.Started == "" && r.Events == 2
	})
	if len(rows) != m.Sessions || refused < 1 {
		t.Fatalf("%d sessions in the list and %d that were refused, %d in the month", len(rows), refused, m.Sessions)
	}
	builders := map[string]*view.Builder{}
	for _, r := range rows[:5] {
		builders[r.Session] = view.NewBuilder(view.Session, r.Session)
	}
	redacted := view.NewBuilder(view.Session, "s-0009")
	builders["s-0009"] = redacted
	for _, b := range builders {
		fold(b)
	}
	for _, r := range rows {
		if r.Requested == "" || r.Approved == "" || r.Started == "" || r.Ended == "" || r.Attested == "" || len(r.Escorts) == 0 || len(r.Engineers) != 1 || len(r.Systems) != 1 || r.Commands == 0 {
			t.Errorf("%+v", r)
		}
		if b := builders[r.Session]; b != nil {
			lines := b.Timeline().Lines
			own := slices.DeleteFunc(slices.Clone(lines), func(l view.Line) bool { return l.Session != r.Session })
			if int64(len(own)) != r.Events {
				t.Errorf("%s: %d lines, and the list counts %d", r.Session, len(own), r.Events)
			}
			// A hold names the first session; its own words are not.
			if named := len(lines) - len(own); (named > 0) != (r.Session == "s-0001") {
				t.Errorf("%s: %d lines of others", r.Session, named)
			}
		}
	}
	statuses := map[view.Status]int{}
	for _, l := range redacted.Timeline().Lines {
		statuses[l.Status]++
	}
	if statuses[view.Corrected] != 1 || statuses[view.Redacted] != 1 {
		t.Errorf("a session with a correction and a redaction shows %v", statuses)
	}
	person := view.NewBuilder(view.Person, "p-s01")
	fold(person)
	types := map[string]bool{}
	for _, l := range person.Timeline().Lines {
		types[l.Type] = true
		if !strings.Contains(string(l.Payload), "p-s01") {
			t.Errorf("leaf %d does not name the person", l.Index)
		}
	}
	for _, typ := range []string{"person.enrolled", "escort.qualified", "authorization.granted", "key.registered", "session.attested"} {
		if !types[typ] {
			t.Errorf("no %s about an escort", typ)
		}
	}
}
