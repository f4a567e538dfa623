package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
	"golang.org/x/mod/sumdb/tlog"
)

// node is a witness with its directory and address.
type node struct {
	name  string // in the policy
	dir   string
	vkeys []string // Ed25519, ML-DSA-44
	front *front
	w     *witness.Witness
}

// witnessNames are the three organisations, as the policy and their keys call
// them.
var witnessNames = []struct{ name, key string }{
	{"agency", "witness.agency-a.example"},
	{"assessor", "witness.assessor.example"},
	{"university", "witness.university.example"},
}

// startWitness makes a witness that knows the log with these keys and opens it.
func startWitness(dir, name, key string, log []*checkpoint.Verifier, f *front) (*node, error) {
	n := &node{name: name, dir: filepath.Join(dir, "witness-"+name), front: f}
	var err error
	if n.vkeys, err = witness.Init(witness.InitConfig{Dir: n.dir, Name: key, Rand: rand.Reader}); err != nil {
		return nil, err
	}
	var entries []witness.LogEntry
	for _, k := range log {
		entries = append(entries, witness.LogEntry{Key: k, Origin: k.Name()})
	}
	if _, err := witness.AddLogs(n.dir, entries); err != nil {
		return nil, err
	}
	if n.w, err = witness.Open(witness.Config{Dir: n.dir}); err != nil {
		return nil, err
	}
	f.show(n.w.Handler())
	return n, nil
}

// policyText is the tlog-policy of the log: two of the three witnesses, each
// with either of its keys.
func policyText(logVKey, logURL string, nodes []*node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s %s\n", logVKey, logURL)
	groups := ""
	for _, n := range nodes {
		fmt.Fprintf(&b, "witness %s %s %s\nwitness %s-pq %s %s\ngroup by-%s any %s %s-pq\n",
			n.name, n.vkeys[0], n.front.url, n.name, n.vkeys[1], n.front.url, n.name, n.name, n.name)
		groups += " by-" + n.name
	}
	fmt.Fprintf(&b, "group two-of-three 2%s\nquorum two-of-three\n", groups)
	return b.String()
}

// cosigners are the organisations whose cosignatures are on a checkpoint, each
// once, whether with one key or two.
func cosigners(v *checkpoint.Verified) string {
	var names []string
	for _, w := range witnessNames {
		if slices.ContainsFunc(v.Cosignatures, func(c checkpoint.Cosignature) bool { return strings.TrimSuffix(c.Witness, "-pq") == w.name }) {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ", ")
}

// addCheckpoint sends a signed checkpoint to a witness as c2sp.org/tlog-witness
// says, and returns the status and what it answered.
func (n *node) addCheckpoint(ctx context.Context, old int64, proof []tlog.Hash, note []byte) (status int, answer string, err error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		fmt.Fprintf(&body, "%v\n", h)
	}
	body.WriteString("\n")
	body.Write(note)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.front.url+"/add-checkpoint", &body)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return resp.StatusCode, strings.TrimSpace(string(b)), err
}

// evidence returns what of one kind the witness keeps.
func (n *node) evidence(kind witness.EvidenceKind) ([]witness.Evidence, error) {
	all, err := witness.ReadEvidence(n.dir)
	var found []witness.Evidence
	for _, e := range all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found, err
}
