//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
)

// backedUp is a large log that the real program serves and backs up.
type backedUp struct {
	*testing.T
	binary, dir, copy string
	serving           *exec.Cmd
	url               string
}

// TestE2ELargeBackup takes a backup of a log of ESCORTLOG_BACKUP_LEAVES leaves (100,000; make bench-backup takes a
// million) while events come in, killed half way and begun again, then one of what is new; loses the store, restores
// it, and checks all of it. Events acknowledged after the first backup are in the second, and their retry finds them.
func TestE2ELargeBackup(t *testing.T) {
	size := int64(100_000)
	if n, err := strconv.ParseInt(os.Getenv("ESCORTLOG_BACKUP_LEAVES"), 10, 64); err == nil {
		size = n
	}
	top := t.TempDir()
	b := &backedUp{T: t, binary: filepath.Join(top, "escortlogd"), copy: filepath.Join(top, "copy")}
	if out, err := exec.Command("go", "build", "-o", b.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := time.Now()
	b.dir, _ = makeLog(t, size)
	b.report("made", made, size)
	b.start(top)

	// Killed half way: what is there is no backup yet, or the one of before.
	cmd := exec.Command(b.binary, b.backupArgs()...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); b.files() < 20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the backup does not begin")
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := os.Stat(filepath.Join(b.copy, "checkpoint")); err == nil {
		t.Fatal("half a backup has a checkpoint")
	}

	load, stop := context.WithCancel(t.Context())
	sent := make(chan [][]byte)
	go func() { sent <- b.submit(load) }()
	began := time.Now()
	b.run(b.backupArgs()...)
	b.report("backup under load", began, size)
	stop()
	events := <-sent
	if len(events) == 0 {
		t.Fatal("no event was acknowledged meanwhile")
	}
	after := b.event(1 << 30)
	status, index := b.post(after)
	if status != http.StatusCreated {
		t.Fatalf("an event after the first backup: %d", status)
	}
	before := b.bytes()
	began = time.Now()
	b.run(b.backupArgs()...)
	b.report("second backup", began, int64(len(events))+1)
	t.Logf("the copy has %d bytes, %d of them new", b.bytes(), b.bytes()-before)
	b.end()

	if err := os.RemoveAll(filepath.Join(b.dir, "db")); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	b.run("restore", "--data", b.dir, "--from", b.copy)
	b.report("restore", began, size)
	began = time.Now()
	out := b.run("fsck", "--data", b.dir)
	b.report("fsck", began, size)
	if !strings.Contains(out, fmt.Sprintf("%d hashed", index+1)) {
		t.Errorf("fsck of what was restored:\n%s", out)
	}
	b.start(top)
	if status, again := b.post(after); status != http.StatusOK || again != index {
		t.Errorf("the event acknowledged last is found with %d at %d, was at %d", status, again, index)
	}
	for _, event := range events {
		if status, _ := b.post(event); status != http.StatusOK {
			t.Fatalf("an event acknowledged during the backup is answered %d", status)
		}
	}
	b.end()
}

func (b *backedUp) report(what string, began time.Time, leaves int64) {
	took := time.Since(began).Seconds()
	b.Logf("%s: %d leaves in %.1f s, %.0f a second, %.1f MB/s", what, leaves, took, float64(leaves)/took, float64(leaves)*600/took/1e6)
}

func (b *backedUp) backupArgs() []string {
	return []string{"backup", "--data", b.dir, "--log", b.url, "--to", b.copy}
}

func (b *backedUp) run(args ...string) string {
	b.Helper()
	out, err := exec.Command(b.binary, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (b *backedUp) start(top string) {
	b.Helper()
	listen := filepath.Join(top, "listen")
	_ = os.Remove(listen)
	b.serving = exec.Command(b.binary, "serve", "--data", b.dir, "--listen", "127.0.0.1:0", "--listen-file", listen)
	if err := b.serving.Start(); err != nil {
		b.Fatal(err)
	}
	cmd := b.serving
	b.Cleanup(func() { _ = cmd.Process.Kill() })
	for deadline := time.Now().Add(5 * patience); ; time.Sleep(10 * time.Millisecond) {
		if address, err := os.ReadFile(listen); err == nil {
			b.url = "http://" + strings.TrimSpace(string(address))
			if resp, err := http.Get(b.url + "/checkpoint"); err == nil {
				if resp.Body.Close(); resp.StatusCode == http.StatusOK {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			b.Fatal("serve never answers")
		}
	}
}

func (b *backedUp) end() {
	b.Helper()
	_ = b.serving.Process.Signal(os.Interrupt)
	if err := b.serving.Wait(); err != nil {
		b.Fatal(err)
	}
}

func (b *backedUp) event(n int) []byte {
	d := &damagedLog{T: b.T}
	return bytes.Replace(d.event(n&0xffff), []byte(damageSource), fmt.Appendf(nil, "urn:load:%d", n>>16), 1)
}

// submit sends events until ctx ends and returns those that were acknowledged.
func (b *backedUp) submit(ctx context.Context) (acknowledged [][]byte) {
	for n := 0; ctx.Err() == nil; n++ {
		event := b.event(n)
		if status, _ := b.post(event); status == http.StatusCreated {
			acknowledged = append(acknowledged, event)
		}
	}
	return acknowledged
}

func (b *backedUp) post(event []byte) (status int, index int64) {
	resp, err := http.Post(b.url+"/v1/events", "application/cloudevents+json", bytes.NewReader(event))
	if err != nil {
		return 0, 0
	}
	defer resp.Body.Close()
	var answer struct{ Index int64 }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, 0
	}
	return resp.StatusCode, answer.Index
}

func (b *backedUp) walk(f func(fs.FileInfo)) {
	_ = filepath.WalkDir(b.copy, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				f(info)
			}
		}
		return nil // it is being written
	})
}

func (b *backedUp) files() (n int) { b.walk(func(fs.FileInfo) { n++ }); return n }

func (b *backedUp) bytes() (n int64) { b.walk(func(i fs.FileInfo) { n += i.Size() }); return n }

// TestE2EDamagedBackup damages every file of a backup in turn: nothing is restored
// from it but the log it was, nor is it built upon; and nothing is restored where
// a log lives that is newer.
func TestE2EDamagedBackup(t *testing.T) {
	d := newDamagedLog(t, 2)
	d.restore()
	s, err := d.open(&bytes.Buffer{})
	d.must(err)
	d.published(s)
	web := httptest.NewServer(s.server.Handler())
	defer web.Close()
	top := t.TempDir()
	whole, token := filepath.Join(top, "copy"), filepath.Join(d.dir, "token")
	_, _, err = command("backup", "--data", d.dir, "--log", web.URL, "--token-file", token, "--to", whole)
	d.must(err)
	bundle := filepath.Join(whole, "tile", "entries", "000")
	image := readImage(t, bundle)
	fileImage{flipped(image.data, 1000), int64(len(image.data))}.write(t, bundle)
	_, said, err := command("backup", "--data", d.dir, "--log", web.URL, "--token-file", token, "--to", whole, "--check")
	d.must(err)
	if !strings.Contains(said, bundle+" was missing or damaged, and is made anew") || !bytes.Equal(readImage(t, bundle).data, image.data) {
		t.Errorf("a check of the copy with a damaged bundle says %q", said)
	}
	head := s.log.Head()
	d.must(s.close())
	var names []string
	d.must(filepath.WalkDir(whole, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	}))
	target := filepath.Join(top, "target")
	restore := func() (log.Head, error) {
		d.must(os.RemoveAll(target))
		d.must(os.CopyFS(filepath.Join(target, "keys"), os.DirFS(filepath.Join(d.dir, "keys"))))
		d.must(filepath.WalkDir(filepath.Join(target, "keys"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				err = os.Chmod(path, 0o600)
			}
			return err
		}))
		if _, _, err := command("restore", "--data", target, "--from", whole); err != nil {
			if _, err := os.Stat(filepath.Join(target, "db")); err == nil {
				t.Error("a restore that failed leaves a store")
			}
			return log.Head{}, err
		}
		o, err := (&dataDir{dir: target}).open("log.example.org", nil)
		if err != nil {
			return log.Head{}, err
		}
		defer o.close()
		return log.ReadHead(t.Context(), o.store)
	}
	if got, err := restore(); err != nil || got != head {
		t.Fatalf("the untouched copy: %+v, %v, want %+v", got, err, head)
	}
	refused := 0
	for _, path := range names {
		image := readImage(t, path)
		for how, data := range map[string][]byte{"empty": nil, "cut": image.data[:len(image.data)/2], "a bit flipped": flipped(image.data, d.random.IntN(len(image.data)))} {
			fileImage{data, int64(len(data))}.write(t, path)
			got, err := restore()
			if err == nil && got != head {
				t.Errorf("%s, %s: it restores %+v", path, how, got)
			}
			if err != nil {
				refused++
			}
		}
		image.write(t, path)
	}
	t.Logf("%d files, %d of %d damages refused; the others are to hash tiles, which are made anew", len(names), refused, 3*len(names))
	if refused < 3*3 {
		t.Errorf("only %d damages are refused", refused)
	}
	// Onto the log itself, which is as new: the old store is kept beside.
	if _, _, err := command("restore", "--data", d.dir, "--from", whole); err != nil {
		t.Errorf("onto the log itself: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "db.replaced")); err != nil {
		t.Errorf("what stood there: %v", err)
	}
	// Onto one that has gone on: refused.
	s, err = d.open(&bytes.Buffer{})
	d.must(err)
	d.add(s, 3)
	d.must(s.close())
	if _, _, err := command("restore", "--data", d.dir, "--from", whole); codeOf(err) != exitIntegrity || !strings.Contains(err.Error(), "the copy is the older one") && !strings.Contains(err.Error(), "newer copy") {
		t.Errorf("onto a log that has gone on: %v", err)
	}
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1 << (at % 8)
	return data
}
