package evidence

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/event"
)

// key is a key as it was registered at the size of the checkpoint.
type key struct {
	KeyID         string  `json:"keyid"`
	Type          string  `json:"type"`
	SPKI          string  `json:"spki"` // standard base64
	Name          string  `json:"name,omitempty"`
	PersonRef     string  `json:"person_ref,omitempty"`
	Registered    int64   `json:"registered"` // index of the leaf
	Administrator bool    `json:"administrator"`
	Active        bool    `json:"active"` // an administrator's key that still is one
	Proven        bool    `json:"proven"` // it signed its own registration
	Grants        []grant `json:"grants"`
	Revoked       *int64  `json:"revoked,omitempty"` // index of the leaf
	Reason        string  `json:"reason,omitempty"`
	Compromised   string  `json:"compromised,omitempty"` // since when its signatures prove nothing
}

type grant struct {
	Source string   `json:"source"`
	Types  []string `json:"types,omitempty"` // none: all that need no name
	Index  int64    `json:"index"`           // of the leaf that granted it
}

func keysOf(d *event.Directory) []key {
	list := []key{}
	for _, k := range d.Keys() {
		out := key{
			KeyID: k.Public.KeyID(), Type: k.Public.Type(), SPKI: k.Public.SPKIBase64(), Name: k.Name, PersonRef: k.PersonRef,
			Registered: k.Registered, Administrator: k.Administrator, Active: k.Active, Proven: k.Proven, Grants: []grant{},
		}
		for _, g := range k.Grants {
			out.Grants = append(out.Grants, grant{g.Source, g.Types, g.Index})
		}
		if k.Revoked != nil {
			index := k.Revoked.Index
			out.Revoked, out.Reason = &index, k.Revoked.Reason
		}
		if k.Compromised != nil {
			out.Compromised = k.Compromised.UTC().Format(time.RFC3339Nano)
		}
		list = append(list, out)
	}
	return list
}

// derived is a file of a pack that is made from its leaves.
type derived struct {
	name  string
	write func(io.Writer) error
}

// keysFile lists the keys that are registered at the size of the checkpoint.
func keysFile(d *event.Directory) derived {
	return derived{nameKeys, func(w io.Writer) error {
		text, err := json.MarshalIndent(keysOf(d), "", " ")
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		return err
	}}
}

// peopleFiles are the files for people: made from a timeline, the manifest
// (without the list of files), the findings and the keys.
func peopleFiles(m *Manifest, r *audit.Report, t *view.Timeline, d *event.Directory) []derived {
	origin := &view.Origin{Log: m.Origin, Size: m.Head.Size, Root: m.Head.Root, Claims: m.Claims}
	return []derived{
		{nameReport, func(w io.Writer) error {
			out := bufio.NewWriter(w)
			if err := reportPage.Execute(out, page{Manifest: m, Report: r, Timeline: t, Keys: keysOf(d)}); err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
			return out.Flush()
		}},
		{nameTimeline, func(w io.Writer) error { return t.Write(w, view.CSV, origin) }},
	}
}

// page is what the report is made from.
type page struct {
	*Manifest
	Report   *audit.Report
	Timeline *view.Timeline
	Keys     []key
}

// Found returns the verdicts of rules with findings in this pack.
func (p page) Found() (list []rules.Verdict) {
	for _, v := range p.Report.Rules.Verdicts {
		if len(v.Findings) > 0 {
			list = append(list, v)
		}
	}
	return list
}

//go:embed report.html.tmpl
var reportText string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"shown":  shown,
	"join":   func(list []string) string { return shown(strings.Join(list, ", ")) },
	"result": func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
	"unix":   func(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) },
}).Parse(reportText))

// shown keeps what stands in a log from turning the writing around.
func shown(s any) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, fmt.Sprint(s))
}
