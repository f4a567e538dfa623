package witness

import (
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed home.html
var homeHTML string

var homePage = template.Must(template.New("home").Parse(homeHTML))

// serveHome is the page for people: who this is, its keys and what it has seen.
func (w *Witness) serveHome(rw http.ResponseWriter, r *http.Request) {
	page := struct {
		Name        string
		VKeys       []string
		MirrorName  string
		MirrorVKeys []string
		Logs        []LogStatus
	}{Name: w.name, VKeys: w.VKeys(), Logs: w.Logs()}
	for _, s := range w.mirror {
		page.MirrorName = s.Verifier().Name()
		page.MirrorVKeys = append(page.MirrorVKeys, s.VKey())
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	rw.Header().Set("Cache-Control", "no-store")
	if err := homePage.Execute(rw, page); err != nil {
		w.log.DebugContext(r.Context(), "home page broke off", "error", err)
	}
}
