//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkPeerRead: what readers of a log read most, from escortlogd and from Tessera's file server on files of the
// same content. Clients that take gzip get our bundles as they are stored; Tessera stores none.
func BenchmarkPeerRead(b *testing.B) {
	built(b, buildPeers)
	dir, vkeys := newDir(b)
	fill(b, dir, "--entries", "100000")
	ours := startOurs(b, dir, vkeys)
	theirs := scratch(b)
	conformance, conformanceURL := startConformance(b, theirs)
	const tiles, connections, requests = 64, 64, 40000
	paths := map[string]func(i int) string{
		"checkpoint": func(int) string { return "/checkpoint" },
		"hash tile":  func(i int) string { return fmt.Sprintf("/tile/0/%03d", i%tiles) },
		"bundle":     func(i int) string { return fmt.Sprintf("/tile/entries/%03d", i%tiles) },
	}
	for _, path := range paths {
		for i := range tiles {
			copyResource(b, ours.url, filepath.Join(theirs, "log"), path(i))
		}
	}
	t := newTable(fmt.Sprintf("Reading over HTTP, %d connections, requests/s (and a second of the server's CPU)", connections))
	run := func(name string, p *process, url string, path func(int) string, header string) {
		cpu := cpuOf(b, p)
		took := shoot(b, url, connections, requests, func(i int) []byte {
			return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path(i), header)
		}, http.StatusOK)
		t.add(name, requests/took)
		t.add(name+", CPU", requests/(cpuOf(b, p)-cpu))
	}
	for range rounds(b) {
		for _, what := range []string{"checkpoint", "hash tile", "bundle"} {
			run("ours, "+what, ours.process, ours.url, paths[what], "Accept-Encoding: gzip\r\n")
			if what == "bundle" {
				run("ours, bundle, not compressed", ours.process, ours.url, paths[what], "")
			}
			run("Tessera, "+what, conformance, conformanceURL, paths[what], "")
		}
	}
	for _, of := range []string{"", ", CPU"} {
		for _, what := range []string{"checkpoint", "hash tile", "bundle"} {
			t.atLeast("ours, "+what+of, "Tessera, "+what+of, 1)
		}
		t.atLeast("ours, bundle, not compressed"+of, "Tessera, bundle"+of, 1)
	}
	t.print(b)
}

// copyResource puts what our log answers into a file of Tessera's, as its own would be: not compressed.
func copyResource(b *testing.B, url, dir, path string) {
	b.Helper()
	resp, err := http.Get(url + path)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s answered %s, %v", path, resp.Status, err)
	}
	file := filepath.Join(dir, strings.TrimPrefix(path, "/"))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		b.Fatal(err)
	}
}
