package reconcile

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/escortlog/escortlog/client/view"
)

// Input is a file of the vantage point.
type Input struct {
	Name    string `json:"name"`
	Records int64  `json:"records"`
	SHA256  string `json:"sha256"` // of the file, hex
}

// Miss names a record or an event that the other side does not have.
type Miss struct {
	Record string `json:"record"` // id of the record, session or command
	Kind   string `json:"kind"`   // what its system calls it, or the event's type
	Time   string `json:"time"`   // when it happened, RFC 3339, UTC

	Input  string `json:"input,omitempty"`  // of the vantage point: the file
	Number int    `json:"number,omitempty"` // and the record in it, from 1

	Index  *int64 `json:"index,omitempty"` // of the log: the leaf
	Source string `json:"source,omitempty"`
	ID     string `json:"id,omitempty"`
}

// Coverage is how much of one side the other has.
type Coverage struct {
	Population int64  `json:"population"`
	Matched    int64  `json:"matched"`
	Percent    string `json:"percent"` // rounded down to two digits; empty over nothing
	Misses     []Miss `json:"misses"`
}

// Report is what was found.
type Report struct {
	System string  `json:"system"`
	Inputs []Input `json:"inputs"`
	// Vantage: how much of the vantage point the log has; Sessions and Commands
	// are parts of it. Independent counts the records that events of other sources
	// match.
	Vantage     Coverage `json:"vantage"`
	Sessions    Coverage `json:"sessions"`
	Commands    Coverage `json:"commands"`
	Independent int64    `json:"independent"`
	// Log: how much of what the vantage point must know it has.
	Log Coverage `json:"log"`
	// Differs are records that one side has with other content.
	Differs       []Miss `json:"differs"`
	RepeatedThere int64  `json:"repeated_there"` // records delivered again
	RepeatedHere  int64  `json:"repeated_here"`  // events of a record that was logged already
	// Claim is claim D, "world".
	Claim view.Claim `json:"claim"`
}

// Report concludes. It may be asked for once.
func (r *Reconciler) Report() *Report {
	out := &r.report
	for _, rec := range r.records {
		parts := []*Coverage{&out.Vantage}
		if rec.session != "" {
			parts = append(parts, &out.Sessions)
		}
		if rec.command != "" {
			parts = append(parts, &out.Commands)
		}
		ok := rec.matched && !rec.differs
		for _, c := range parts {
			c.Population++
			if ok {
				c.Matched++
			} else {
				c.Misses = append(c.Misses, rec.Miss)
			}
		}
		if ok && rec.native {
			out.Independent++
		}
	}
	for _, c := range []*Coverage{&out.Vantage, &out.Sessions, &out.Commands, &out.Log} {
		c.conclude()
	}
	out.Claim = out.claim()
	return out
}

func (c *Coverage) conclude() {
	if c.Misses == nil {
		c.Misses = []Miss{}
	}
	if c.Population > 0 {
		// Rounded down: 100.00 is all, and nothing less.
		hundredths := c.Matched * 10_000 / c.Population
		c.Percent = fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)
	}
}

func (c *Coverage) text() string {
	if c.Percent == "" {
		return "none to look at"
	}
	return fmt.Sprintf("%s %% (%d of %d)", c.Percent, c.Matched, c.Population)
}

func (r *Report) claim() view.Claim {
	c := view.Claim{Name: "D world", Result: view.Pass, Population: r.Vantage.Population, Unit: "records"}
	c.Detail = fmt.Sprintf("the log has %s of what %s saw, %d of them by itself; %s has %s of what the log says it must have seen",
		r.Vantage.text(), r.System, r.Independent, r.System, r.Log.text())
	switch {
	case r.Vantage.Population == 0:
		c.Result, c.Detail = view.NotEvaluable, "the vantage point has no record in that time: over nothing there is no coverage"
	case len(r.Vantage.Misses)+len(r.Log.Misses)+len(r.Differs) > 0:
		c.Result = view.Fail
	}
	return c
}

// WriteText writes a report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	for _, in := range r.Inputs {
		line("vantage", "%s, %d records, SHA-256 %s", in.Name, in.Records, in.SHA256)
	}
	line("in the log", "%s of the records", r.Vantage.text())
	line("", "%s of the sessions", r.Sessions.text())
	line("", "%s of the commands", r.Commands.text())
	line("", "%d by events of other sources; the others are the vantage point's own records, imported", r.Independent)
	line("in vantage", "%s of what the log says", r.Log.text())
	if r.RepeatedThere+r.RepeatedHere > 0 {
		line("repeated", "%d records of the vantage point, %d in the log", r.RepeatedThere, r.RepeatedHere)
	}
	for _, m := range r.Vantage.Misses {
		line("not logged", "%s", m)
	}
	for _, m := range r.Log.Misses {
		line("only logged", "%s", m)
	}
	for _, m := range r.Differs {
		line("differs", "%s", m)
	}
	line("claim "+r.Claim.Name, "%s, %d %s: %s", strings.ReplaceAll(r.Claim.Result, "_", " "), r.Claim.Population, r.Claim.Unit, r.Claim.Detail)
	_, err := io.WriteString(w, b.String())
	return err
}

func (m Miss) String() string {
	where := fmt.Sprintf("%s record %d", m.Input, m.Number)
	if m.Index != nil {
		where = fmt.Sprintf("leaf %d of %s", *m.Index, m.Source)
	}
	return fmt.Sprintf("%s %s %s (%s)", m.Time, m.Kind, m.Record, where)
}

// printable keeps what stands in a record from commanding a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
