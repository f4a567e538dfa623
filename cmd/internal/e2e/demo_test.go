//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestE2EForeignReadersOnDemo lets the demo run to its end and stay up, and foreign readers judge the log that its
// operator could not rewrite.
func TestE2EForeignReadersOnDemo(t *testing.T) {
	built(t, buildForeign, buildOurs)
	dir := filepath.Join(t.TempDir(), "demo")
	p := start(t, t.TempDir(), "escortlog-demo", "--stay", "--keep", dir, "--listen", "127.0.0.1:0")
	ready := filepath.Join(dir, "log.url")
	p.await(t, "a log that stays up", func() bool {
		_, err := os.Stat(ready)
		return err == nil
	})
	logURL, policyText := read(t, ready), read(t, filepath.Join(dir, "policy"))
	log := regexp.MustCompile(`(?m)^log (\S+)`).FindStringSubmatch(policyText)
	if log == nil {
		t.Fatalf("the demo's policy names no log:\n%s", policyText)
	}
	// The tour ends with an audit that names the size of the tree.
	size := regexp.MustCompile(`size (\d+), extends`).FindAllStringSubmatch(p.out.String(), -1)
	if len(size) == 0 {
		t.Fatalf("the demo's last audit names no size:\n%s", tail(p.out.String()))
	}
	n, err := strconv.ParseInt(size[len(size)-1][1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The demo's quorum is two of three, so no single cosigner is certain; torchwood reads the demo's own policy,
	// without the keys of a kind that it does not know.
	classic := withoutMLDSA(policyText)
	readers(t, logURL, log[1], nil, write(t, t.TempDir(), "policy", classic), n)
}

// withoutMLDSA drops from a policy the witnesses with an ML-DSA-44 key, told by its length, and their names from the
// groups.
func withoutMLDSA(policy string) string {
	lines := strings.Split(policy, "\n")
	var kept []string
	gone := map[string]bool{}
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) > 2 && f[0] == "witness" && len(f[2]) > 1000 {
			gone[f[1]] = true
			continue
		}
		if len(f) > 3 && f[0] == "group" {
			var members []string
			for _, m := range f[3:] {
				if !gone[m] {
					members = append(members, m)
				}
			}
			l = strings.Join(append(f[:3], members...), " ")
		}
		kept = append(kept, l)
	}
	return strings.Join(kept, "\n") + "\n"
}
