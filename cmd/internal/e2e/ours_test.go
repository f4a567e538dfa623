//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// ourWitness is an escortwitness with both kinds of key.
type ourWitness struct {
	dir, url string
	vkeys    []string // Ed25519, then ML-DSA-44
}

// newWitness makes a witness that knows the logs with these verifier keys (the keys of one log in one argument,
// separated by spaces) and starts it.
func newWitness(t *testing.T, name string, logs ...string) *ourWitness {
	t.Helper()
	w := &ourWitness{dir: filepath.Join(t.TempDir(), "witness")}
	w.vkeys = strings.Fields(must(t, "escortwitness", "init", "--data", w.dir, "--name", name))
	if len(w.vkeys) != 2 {
		t.Fatalf("escortwitness init printed %d verifier keys, want an Ed25519 and an ML-DSA-44 one: %q", len(w.vkeys), w.vkeys)
	}
	for _, vkeys := range logs {
		must(t, "escortwitness", append([]string{"add-log", "--data", w.dir}, strings.Fields(vkeys)...)...)
	}
	listen := filepath.Join(t.TempDir(), "address")
	p := start(t, w.dir, "escortwitness", "serve", "--data", w.dir, "--listen", "127.0.0.1:0", "--listen-file", listen)
	w.url = serving(t, p, listen)
	return w
}

// lines are the witness's two lines in a policy that demands both of its keys.
func (w *ourWitness) lines(name string) []witnessLine {
	return []witnessLine{{name, w.vkeys[0], w.url}, {name + "-pq", w.vkeys[1], w.url}}
}

// TestE2EForeignReadersAndWitness runs our log with two witnesses of ours and a foreign one, all of whose
// cosignatures the policy demands, logs real records, and lets foreign readers and our auditor judge it.
func TestE2EForeignReadersAndWitness(t *testing.T) {
	built(t, buildForeign, buildOurs)
	dir := t.TempDir()
	data := filepath.Join(dir, "log")
	vkeys := strings.Fields(must(t, "escortlogd", "init", "--data", data, "--origin", "log.example/e2e"))
	if len(vkeys) != 2 {
		t.Fatalf("escortlogd init printed %d verifier keys, want an Ed25519 and an ML-DSA-44 one: %q", len(vkeys), vkeys)
	}
	w1 := newWitness(t, "one.example/witness", strings.Join(vkeys, " "))
	w2 := newWitness(t, "two.example/witness", strings.Join(vkeys, " "))
	lite := startLitewitness(t, "lite.example/witness")
	lite.addLog(t, vkeys[0])

	everyone := append(append(w1.lines("one"), w2.lines("two")...),
		witnessLine{"lite", lite.vkey, lite.url}, witnessLine{"log-pq", vkeys[1], ""})
	listen := filepath.Join(dir, "address")
	p := start(t, dir, "escortlogd", "serve", "--data", data, "--listen", "127.0.0.1:0", "--listen-file", listen,
		"--policy", policy(t, vkeys[0], everyone...))
	logURL := serving(t, p, listen)
	full := policy(t, vkeys[0]+" "+logURL, everyone...)
	// For a reader that knows no ML-DSA.
	classic := policy(t, vkeys[0], witnessLine{"one", w1.vkeys[0], ""}, witnessLine{"two", w2.vkeys[0], ""}, witnessLine{"lite", lite.vkey, ""})
	cosigners := []string{vkeys[1], w1.vkeys[0], w1.vkeys[1], w2.vkeys[0], w2.vkeys[1], lite.vkey}

	const source = "https://trail.example/account/1"
	key, receipts := filepath.Join(dir, "source.key"), filepath.Join(dir, "receipts")
	must(t, "escortlog", "keygen", "-o", key)
	must(t, "escortlog", "register-key", "--log", logURL, "--admin", filepath.Join(data, "admin.key"), "--key", key+".pub", "--source", source)
	files, records := trail(t)
	events := must(t, "escortlog", append([]string{"import", "--from", "cloudtrail", "--source", source}, files...)...)
	if n := strings.Count(events, "\n"); n != records {
		t.Fatalf("%d records became %d events", records, n)
	}
	submitted := strings.Split(strings.TrimSpace(mustWith(t, events, "escortlog", "submit", "--log", logURL, "--key", key,
		"--policy", full, "--receipts", receipts, "-")), "\n")
	if len(submitted) != records {
		t.Fatalf("submit printed %d lines for %d events", len(submitted), records)
	}
	// The log's creation and the key's registration come before the events.
	size := int64(records) + 2

	t.Run("foreign readers", func(t *testing.T) {
		readers(t, logURL, vkeys[0], cosigners, classic, size)
		readersRefuse(t, logURL, vkeys[0], classic)
	})
	t.Run("receipts", func(t *testing.T) {
		checkReceipts(t, receipts, submitted, vkeys[0], cosigners, classic, full)
	})
	t.Run("auditor", func(t *testing.T) {
		state := filepath.Join(dir, "state")
		must(t, "escortlog", "audit", "--no-rules", "--policy", full, "--log", logURL, "--state", state)
		must(t, "escortlog", "audit", "--no-rules", "--policy", full, "--log", logURL, "--state", state)
		for _, what := range []string{"an entry", "the newest entries", "the checkpoint"} {
			liar := lyingProxy(t, logURL, lies[what])
			if _, all, code := try(t, "", "escortlog", "audit", "--policy", full, "--log", liar, "--state", t.TempDir()); code != 2 {
				t.Errorf("audit with a changed byte in %s: exit code %d, want 2\n%s", what, code, all)
			}
		}
	})
}

// checkReceipts verifies the receipts of the first, a middle and the last event with three programs, and that each
// of them refuses a receipt for another leaf.
func checkReceipts(t *testing.T, receipts string, submitted []string, vkey string, cosigners []string, classic, full string) {
	t.Helper()
	var indexes []string
	for _, i := range []int{0, len(submitted) / 2, len(submitted) - 1} {
		indexes = append(indexes, strings.Fields(submitted[i])[0])
	}
	xmod := []string{"--vkey", vkey}
	for _, c := range cosigners {
		xmod = append(xmod, "--cosigner", c)
	}
	for i, index := range indexes {
		proof := filepath.Join(receipts, index+".tlog-proof")
		leaf, other := filepath.Join(receipts, index+".leaf"), filepath.Join(receipts, indexes[(i+1)%len(indexes)]+".leaf")
		verifiers := map[string][]string{
			"xmod":      append([]string{"--proof", proof}, xmod...),
			"torchwood": {"--policy", classic, "--proof", proof},
			"escortlog": {"verify", "--policy", full, proof},
		}
		for name, args := range verifiers {
			must(t, name, append(args, "--leaf", leaf)...)
			if _, all, code := try(t, "", name, append(args, "--leaf", other)...); code == 0 {
				t.Errorf("%s accepts the receipt of entry %s for another leaf:\n%s", name, index, all)
			}
		}
	}
}

// trail returns files of AWS CloudTrail records and how many records they hold: the real ones that may lie beside
// the repository, else some of our own making, enough for more than two tiles.
func trail(t *testing.T) (files []string, records int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "../shared/data/cloudtrail/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		for _, f := range files {
			records += countRecords(t, f)
		}
		return files, records
	}
	const made = 600
	var all []map[string]any
	for i := range made {
		all = append(all, map[string]any{
			"eventVersion": "1.08", "eventID": fmt.Sprintf("6f1c2b7e-0000-4000-8000-%012d", i),
			"eventTime": fmt.Sprintf("2026-03-01T%02d:%02d:00Z", i/60, i%60), "eventSource": "ssm.amazonaws.com",
			"eventName": []string{"StartSession", "SendCommand", "TerminateSession", "DescribeInstances"}[i%4],
			"awsRegion": "us-gov-west-1", "sourceIPAddress": "192.0.2.1", "userAgent": "e2e", "eventType": "AwsApiCall",
			"recipientAccountId": "111122223333", "readOnly": i%4 == 3,
			"userIdentity":      map[string]any{"type": "IAMUser", "accountId": "111122223333", "userName": "engineer", "arn": "arn:aws-us-gov:iam::111122223333:user/engineer"},
			"requestParameters": map[string]any{"target": "i-0123456789abcdef0", "sessionId": fmt.Sprintf("engineer-%04d", i/4)},
		})
	}
	text, err := json.Marshal(map[string]any{"Records": all})
	if err != nil {
		t.Fatal(err)
	}
	return []string{write(t, t.TempDir(), "trail.json", string(text))}, made
}

// countRecords counts what a file holds: an object with Records, or an array.
func countRecords(t *testing.T, file string) int {
	t.Helper()
	text := read(t, file)
	var object struct{ Records []json.RawMessage }
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal([]byte(text), &object.Records); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	} else if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(object.Records) == 0 {
		t.Fatalf("%s holds no records", file)
	}
	return len(object.Records)
}

// TestE2EOurWitnessCosignsForeignLog lets Tessera's log be published only with the cosignatures of two witnesses of
// ours and a foreign one, grow, and then show a fork.
func TestE2EOurWitnessCosignsForeignLog(t *testing.T) {
	built(t, buildForeign, buildOurs)
	l := newTesseraLog(t, "tessera.example/log")
	w1, w2 := newWitness(t, "one.example/witness", l.vkey), newWitness(t, "two.example/witness", l.vkey)
	lite := startLitewitness(t, "lite.example/witness")
	lite.addLog(t, l.vkey)
	// Tessera asks for Ed25519 cosignatures only.
	p := policy(t, l.vkey, witnessLine{"one", w1.vkeys[0], w1.url}, witnessLine{"two", w2.vkeys[0], w2.url}, witnessLine{"lite", lite.vkey, lite.url})

	l.append(t, p, 1)
	l.append(t, p, 300)
	l.append(t, p, 77)
	readers(t, l.url, l.vkey, []string{w1.vkeys[0], w2.vkeys[0], lite.vkey}, p, 378)

	// The fork grows alone until it is larger than what the witness knows: only the consistency proof gives it away.
	fork := &tesseraLog{dir: filepath.Join(t.TempDir(), "fork"), keys: l.keys}
	fork.append(t, "", 400)
	onlyOurs := policy(t, l.vkey, witnessLine{"one", w1.vkeys[0], w1.url})
	// Tessera asks again and again for as long as it is let.
	forker := start(t, fork.dir, "tessera", "append", "--dir", fork.dir, "--skey", filepath.Join(fork.keys, "skey"),
		"--policy", onlyOurs, "--entries", "1", "--wait", patience.String())
	forker.await(t, "a witness that finds no consistency", func() bool {
		return strings.Contains(forker.out.String(), "consistency proof is bad: 422")
	})
	forker.stop()
	if cp := read(t, filepath.Join(fork.dir, "checkpoint")); !strings.HasPrefix(cp, "tessera.example/log\n400\n") {
		t.Errorf("the fork grew, cosigned by our witness:\n%s", cp)
	}
	l.append(t, onlyOurs, 5)
}
