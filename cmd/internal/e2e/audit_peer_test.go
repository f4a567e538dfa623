//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkPeerAudit: escortlog audit of a log of signed events, which verifies every signature, against raw Ed25519
// verification on the same cores, and a second audit with what the first one kept, which has nothing to verify.
func BenchmarkPeerAudit(b *testing.B) {
	built(b, buildPeers)
	dir, vkeys := newDir(b)
	s := startOurs(b, dir, vkeys)
	const batches = 160
	key := s.register(b)
	signedLoads(b, batches, 256, key).toOurs(b, s, 4)
	const signed = batches*256 + 1 // and the registration of the key
	policyFile := write(b, scratch(b), "policy", fmt.Sprintf("log %s %s\nquorum none\n", vkeys[0], s.url))
	t := newTable(fmt.Sprintf("audit of %d signed events, signatures/s (and a second of CPU)", signed))
	for range rounds(b) {
		perSecond, perCPUSecond := verifying()
		t.add("Ed25519 verification", perSecond)
		t.add("Ed25519 verification, CPU", perCPUSecond)
		state := filepath.Join(scratch(b), "state")
		args := []string{"audit", "--no-rules", "--policy", policyFile, "--log", s.url, "--state", state}
		for _, name := range []string{"first audit", "second audit, with --state"} {
			all, seconds, cpu := timed(b, "escortlog", args...)
			if name == "first audit" && !strings.Contains(all, fmt.Sprintf("%d signatures: verified", signed)) {
				b.Fatalf("the audit did not verify %d signatures:\n%s", signed, tail(all))
			}
			t.add(name, signed/seconds)
			t.add(name+", CPU", signed/cpu)
		}
	}
	for _, of := range []string{"", ", CPU"} {
		t.atLeast("first audit"+of, "Ed25519 verification"+of, 0.8)
		t.beside("second audit, with --state"+of, "first audit"+of)
	}
	t.print(b)
}
