package evidence

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/client/view"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/tile"
	"golang.org/x/mod/sumdb/tlog"
)

// madeLog is a log of as many unsigned events as are wanted, made when they are
// read.
type madeLog struct {
	*wholeLog
	first []byte // leaf 0
	size  int64
}

var madeTime = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// newMadeLog makes the tree and signs it, with every key of the sample log and its
// witnesses, so that the note is as long as a real one.
func newMadeLog(t testing.TB, size int64) *madeLog {
	t.Helper()
	note, err := sample.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c, err := headOf(note)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := os.ReadFile("../../testdata/keys/admin-agency.key.pub")
	if err != nil {
		t.Fatal(err)
	}
	public, err := event.ParsePublicKeyPEM(admin)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := event.NewLogCreated(event.NewUUIDv7(madeTime.UnixMilli(), [10]byte{}), madeTime,
		event.Genesis{Origin: c.Origin, AllowUnsigned: true, Administrators: []event.Administrator{{Name: "admin", Key: public}}})
	if err != nil {
		t.Fatal(err)
	}
	l := &madeLog{size: size}
	if l.first, err = (&entry.Entry{Time: madeTime.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal(); err != nil {
		t.Fatal(err)
	}
	hashes := make([]tlog.Hash, size)
	for i := range size {
		leaf, err := l.make(i)
		if err != nil {
			t.Fatal(err)
		}
		hashes[i] = entry.LeafHash(leaf)
	}
	l.wholeLog = newWholeLog(nil, size, of(hashes), l.make)
	c.Size = size
	if c.Root, err = tile.Root(context.Background(), l.Tile, size); err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for _, name := range []string{"log.ed25519", "log.mldsa44", "witness-agency.ed25519", "witness-agency.mldsa44", "witness-assessor.ed25519", "witness-assessor.mldsa44"} {
		text, err := os.ReadFile("../../testdata/keys/" + name + ".skey")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := checkpoint.ParseSKey(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		line, err := signer.Sign(c.Text(), madeTime.Add(time.Hour).Unix())
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	l.note = checkpoint.Join(c.Text(), lines...)
	return l
}

// make makes a leaf: the pause of a session, one session for a hundred leaves.
func (l *madeLog) make(i int64) ([]byte, error) {
	if i == 0 {
		return l.first, nil
	}
	at := madeTime.Add(time.Duration(i) * time.Millisecond)
	id := fmt.Sprintf("s-%d", i/100)
	payload, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(at.UnixMilli(), [10]byte{byte(i >> 16), byte(i >> 8), byte(i)}), Source: "urn:example:gateway",
		Type: event.Prefix + "session.paused.v1", Subject: "session/" + id, Time: at,
	}, map[string]any{"session_id": id, "paused_by": nil, "reason": strings.Repeat("waiting for the engineer ", 12)})
	if err != nil {
		return nil, err
	}
	return (&entry.Entry{Time: at.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
}

// packMade makes the pack of all leaves of a made log in a file, of so many bytes.
func packMade(t testing.TB, size int64) (pack *os.File, bytes int64) {
	t.Helper()
	l := newMadeLog(t, size)
	policy, err := checkpoint.ParsePolicy(policyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Run(context.Background(), audit.Config{Log: l, Policy: policy, Rules: rules.Default(), At: madeTime.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSelector(Query{Kind: view.Session, ID: "s-3"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range size {
		leaf, err := l.make(i)
		if err == nil {
			err = s.Add(i, leaf)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "pack.zip"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	built, err := Build(context.Background(), Config{Log: l, Report: r, Selector: s, Policy: policyFile(t), Rules: rules.DefaultFile(), Tool: "test", All: true}, f)
	if err != nil {
		t.Fatal(err)
	}
	return f, built.Size
}

// BenchmarkPack makes and verifies packs of 10,000 leaves and of as many as
// ESCORTLOG_BENCH_LEAVES says (300,000 make a file of 4.6 GB and take minutes), and
// says how much memory the verification of each took at most, and for each leaf.
func BenchmarkPack(b *testing.B) {
	sizes := []int64{10_000}
	if n, err := strconv.ParseInt(os.Getenv("ESCORTLOG_BENCH_LEAVES"), 10, 64); err == nil {
		sizes = append(sizes, n)
	}
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f, bytes := packMade(b, size)
			var r *Result
			var err error
			b.ResetTimer()
			var peak uint64
			for range b.N {
				peak = max(peak, peakOf(func() { r, err = Verify(context.Background(), f, bytes, policyFile(b)) }))
				if err != nil || len(r.Problems) > 0 {
					b.Fatal(err, r.Problems)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
			b.ReportMetric(float64(peak)/float64(size), "peak-B/leaf")
			b.ReportMetric(float64(bytes)/float64(size), "pack-B/leaf")
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
		})
	}
}

// peakOf returns the most memory in live objects and garbage while work runs.
func peakOf(work func()) (peak uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // little garbage
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for {
		select {
		case <-done:
			return peak
		case <-time.After(20 * time.Millisecond):
			metrics.Read(m)
			peak = max(peak, m[0].Value.Uint64())
		}
	}
}
