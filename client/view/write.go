package view

import (
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Format is how a view is written.
type Format string

// The formats there are.
const (
	Table Format = "table"
	JSON  Format = "json"
	CSV   Format = "csv"
)

// Write writes a timeline and what is proven about it.
func (t *Timeline) Write(w io.Writer, f Format, o *Origin) error {
	switch f {
	case JSON:
		return writeJSON(w, struct {
			Log *Origin `json:"log"`
			*Timeline
		}{o, t})
	case CSV:
		return writeCSV(w, o, lineColumns, len(t.Lines), func(i int) []string { return t.Lines[i].cells() })
	}
	return t.writeTable(w, o)
}

// WriteSessions writes a list of sessions and what is proven about it.
func WriteSessions(w io.Writer, f Format, o *Origin, rows []SessionRow) error {
	switch f {
	case JSON:
		return writeJSON(w, struct {
			Log      *Origin      `json:"log"`
			Sessions []SessionRow `json:"sessions"`
		}{o, rows})
	case CSV:
		return writeCSV(w, o, sessionColumns, len(rows), func(i int) []string { return rows[i].cells() })
	}
	var b strings.Builder
	o.writeText(&b, fmt.Sprintf("%d sessions", len(rows)))
	shown := []string{"SESSION", "FIRST LEAF", "STARTED", "ENDED", "ATTESTED", "IN THE LOG", "ENGINEER", "ESCORT", "SYSTEM", "COMMANDS", "AMENDED"}
	table := [][]string{shown}
	for _, r := range rows {
		table = append(table, []string{
			r.Session, fmt.Sprint(r.First), r.Started, r.Ended, r.Attested, r.FirstLog, strings.Join(r.Engineers, " "),
			strings.Join(r.Escorts, " "), strings.Join(r.Systems, " "), fmt.Sprint(r.Commands), fmt.Sprint(r.Amended),
		})
	}
	for _, line := range align(table) {
		fmt.Fprintln(&b, line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// originColumns stand at the end of every row of CSV, so that a row which was
// copied out of its file still says where it comes from.
var originColumns = []string{"claims", "log_origin", "log_size", "log_root"}

var lineColumns = []string{
	"index", "leaf_hash", "time", "recorded_time", "log_time", "type", "source", "id", "subject", "session_id", "change_id",
	"context", "status", "summary", "effective_summary", "amended_by", "not_applied", "withheld",
}

func (l *Line) cells() []string {
	var by, not, withheld []string
	for _, a := range l.Amendments {
		if a.NotApplied == "" {
			by = append(by, fmt.Sprint(a.Index))
		} else {
			not = append(not, fmt.Sprint(a.Index))
		}
	}
	for _, h := range l.Withheld {
		withheld = append(withheld, h.Path)
	}
	return []string{
		fmt.Sprint(l.Index), hex.EncodeToString(l.LeafHash[:]), l.Time, l.RecordedTime, l.LogTime, l.Type, l.Source, l.ID, l.Subject,
		l.Session, l.Change, fmt.Sprint(l.Context), string(l.Status), l.Summary, l.EffectiveSummary,
		strings.Join(by, " "), strings.Join(not, " "), strings.Join(withheld, " "),
	}
}

var sessionColumns = []string{
	"session_id", "first_index", "last_index", "events", "requested", "approved", "started", "ended", "attested", "first_log_time",
	"last_log_time", "systems", "engineers", "escorts", "approvers", "commands", "blocked", "changes", "amended",
}

func (r *SessionRow) cells() []string {
	return []string{
		r.Session, fmt.Sprint(r.First), fmt.Sprint(r.Last), fmt.Sprint(r.Events), r.Requested, r.Approved, r.Started, r.Ended, r.Attested,
		r.FirstLog, r.LastLog, strings.Join(r.Systems, " "), strings.Join(r.Engineers, " "), strings.Join(r.Escorts, " "),
		strings.Join(r.Approvers, " "), fmt.Sprint(r.Commands), fmt.Sprint(r.Blocked), strings.Join(r.Changes, " "), fmt.Sprint(r.Amended),
	}
}

// writeCSV writes RFC 4180: a header, lines ending in CRLF.
func writeCSV(w io.Writer, o *Origin, columns []string, rows int, cells func(int) []string) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	header := append(append([]string(nil), columns...), originColumns...)
	origin := []string{o.proven(), o.Log, fmt.Sprint(o.Size), hex.EncodeToString(o.Root[:])}
	if s := o.Sample; s != nil {
		header = append(header, "sample_seed", "sample_population")
		origin = append(origin, s.Seed, fmt.Sprint(s.Population))
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for i := range rows {
		row := append(cells(i), origin...)
		for j, c := range row {
			row[j] = safeCell(c)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// safeCell keeps a spreadsheet from taking text for a formula, which could run
// programs or send the sheet away: an apostrophe makes it text.
func safeCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// writeText writes what is proven, above a table.
func (o *Origin) writeText(b *strings.Builder, what string) {
	fmt.Fprintf(b, "%s\nlog         %s, size %d, root %s\n", printable(what), printable(o.Log), o.Size, o.Root)
	if len(o.Cosigners) > 0 {
		fmt.Fprintf(b, "cosigned    by %s\n", printable(strings.Join(o.Cosigners, ", ")))
	}
	for _, c := range o.Claims {
		fmt.Fprintf(b, "claim %s  %s, %d %s: %s\n", pad(c.Name, 8), strings.ReplaceAll(c.Result, "_", " "), c.Population, c.Unit, printable(c.Detail))
	}
	if s := o.Sample; s != nil {
		fmt.Fprintf(b, "sample      %d of %d leaves, seed %s: %s\n", s.Drawn, s.Population, strconv.Quote(s.Seed), s.Method)
	}
	for _, f := range o.Findings {
		fmt.Fprintf(b, "finding     %s\n", printable(f))
	}
	b.WriteByte('\n')
}

func (t *Timeline) writeTable(w io.Writer, o *Origin) error {
	var b strings.Builder
	o.writeText(&b, fmt.Sprintf("%s %s: %d leaves", t.Kind, t.ID, len(t.Lines)))
	table := [][]string{{"INDEX", "TIME", "RECORDED", "IN THE LOG", "TYPE", "SOURCE", "WHAT"}}
	for _, l := range t.Lines {
		kind := l.Type
		if l.Context {
			kind = "(" + kind + ")"
		}
		table = append(table, []string{fmt.Sprint(l.Index), l.Time, l.RecordedTime, l.LogTime, kind, l.Source, l.Summary})
	}
	aligned := align(table)
	fmt.Fprintln(&b, aligned[0])
	for i, line := range aligned[1:] {
		fmt.Fprintln(&b, line)
		t.Lines[i].writeNotes(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeNotes writes below a line what is said about it elsewhere.
func (l *Line) writeNotes(b *strings.Builder) {
	note := func(format string, args ...any) {
		fmt.Fprintf(b, "        %s\n", printable(fmt.Sprintf(format, args...)))
	}
	if l.Opaque {
		note("! opaque: the type is not known here, and its data was judged by nobody")
	}
	for _, a := range l.Amendments {
		who := "by " + strings.Join(a.By, ", ")
		if a.Approve != "" {
			who += ", approved by " + a.Approve
		}
		if a.NotApplied != "" {
			note("! leaf %d (%s) does not count: %s", a.Index, a.Type, a.NotApplied)
			continue
		}
		note("* %s by leaf %d at %s, %s: %s", strings.TrimPrefix(a.Type, "record."), a.Index, a.LogTime, who, a.Reason)
	}
	for _, h := range l.Withheld {
		note("* present, content withheld under %s: %s", h.Under, h.Path)
	}
	switch l.Status {
	case Corrected:
		note("= now: %s", l.EffectiveSummary)
	case Retracted:
		note("= now: nothing, its source has taken it back")
	}
}

// align pads all columns but the last.
func align(table [][]string) []string {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	lines := make([]string, len(table))
	for i, row := range table {
		for j, cell := range row {
			if j < len(row)-1 {
				cell = pad(cell, widths[j]) + "  "
			}
			lines[i] += cell
		}
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// printable keeps what stands in a log from commanding a terminal, or from
// turning the writing around on it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
