//go:build e2e && linux

package torture_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage/internal/powerfs"
)

// TestE2ETortureMirror kills a mirror at a random change on its disk, lets it go on where it
// was, and cuts the power: all entries of what it has cosigned are there.
func TestE2ETortureMirror(t *testing.T) {
	runs := int(number(t, "ESCORTLOG_POWER_CUTS", 20)+9) / 10
	w := newWorld(t, powerfs.Strict, false)
	// The log that is copied is on another disk.
	from := filepath.Join(w.aside, "log")
	keys := strings.Fields(w.run(w.bin("escortlogd"), "init", "--data", from, "--origin", origin, "--allow-unsigned"))
	w.setPolicy("log " + keys[0] + "\nquorum none\n")
	log, said := w.start(nil, "escortlogd", "--data", from, "--policy", filepath.Join(w.aside, "policy"), "--publish-every", "20ms", "--log-level", "warn")
	if log == nil {
		t.Fatal(said)
	}
	t.Cleanup(log.kill)
	for n := 2; n < 300; n += 3 { // batches
		if !w.submit(t.Context(), log.url, n) {
			t.Fatal("an event is refused")
		}
	}
	w.log = log
	size := w.published(w.ledger.next).Size
	w.log = nil
	bundle := tile.Tile{Level: tile.Entries, N: size / tile.Width, W: int(size % tile.Width)}
	want := w.fetch(log.url + "/" + bundle.Path())
	for run := range runs {
		dir := w.data(fmt.Sprintf("mirror%d", run))
		serve := []string{"--data", dir, "--pull-every", "50ms", "--rate", "-1", "--log-level", "warn"}
		w.run(w.bin("escortwitness"), "init", "--data", dir, "--name", witnessName, "--mirror-name", "mirror.example.org/1")
		w.run(w.bin("escortwitness"), append([]string{"add-log", "--data", dir, "--mirror", "--url", log.url}, keys...)...)
		lost := w.disk.CutAt(1 + w.random.IntN(60))
		if w.witness, _ = w.start(lost, "escortwitness", serve...); w.witness != nil {
			select {
			case <-lost:
			case <-time.After(time.Second): // it is done
			}
			w.disk.PowerOff()
		}
		w.kill()
		w.must(errors.Join(w.disk.Unmount(), w.disk.Mount(w.dir))) // only killed: nothing is lost
		copied := fmt.Sprintf("/mirror/%x/", sha256.Sum256([]byte(origin)))
		for _, cut := range []bool{false, true} {
			if cut {
				w.kill()
				w.must(errors.Join(w.disk.CutKeeping(0, 0), w.disk.Mount(w.dir)))
			}
			if w.witness, said = w.start(nil, "escortwitness", serve...); w.witness == nil {
				t.Fatalf("the mirror does not start, after a power cut: %v: %s", cut, said)
			}
			for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				text, _, err := checkpoint.ParseNote(w.fetch(w.witness.url + copied + "checkpoint"))
				if err == nil {
					if c, err := checkpoint.Parse(text); err == nil && c.Size == size {
						break
					}
				}
				if cut || time.Now().After(deadline) {
					t.Fatalf("the mirror has no checkpoint of size %d, after a power cut: %v", size, cut)
				}
			}
			if got := w.fetch(w.witness.url + copied + bundle.Path()); !bytes.Equal(got, want) {
				t.Fatalf("the newest bundle has %d bytes, not %d, after a power cut: %v", len(got), len(want), cut)
			}
		}
		w.kill()
	}
}

// fetch returns the body of what is there, or nil.
func (w *world) fetch(url string) []byte {
	w.Helper()
	resp, err := w.client.Get(url)
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}
