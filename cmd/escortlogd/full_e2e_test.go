//go:build e2e && linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestE2EFullDisk fills, under the running program, a file system of its own: nearly, and to the last byte. Events are
// refused with 503 and a problem document that says why, reads go on, and once there is room, events are taken again
// without a restart; what was acknowledged before is there. It wants to mount a tmpfs, which root may.
func TestE2EFullDisk(t *testing.T) {
	top := t.TempDir()
	disk := filepath.Join(top, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=600m"); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		t.Skipf("a tmpfs of 600 MB cannot be mounted here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	b := &backedUp{T: t, binary: filepath.Join(top, "escortlogd"), dir: filepath.Join(disk, "data")}
	t.Cleanup(func() {
		if b.serving != nil {
			_ = b.serving.Process.Kill()
			_ = b.serving.Wait()
		}
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("go", "build", "-o", b.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.run("init", "--data", b.dir, "--origin", "log.example.org", "--allow-unsigned")
	b.start(top)

	var acknowledged []int64
	n := 0
	take := func() {
		t.Helper()
		status, index := b.post(b.event(n))
		if n++; status != http.StatusCreated {
			t.Fatalf("an event is answered %d while there is room", status)
		}
		acknowledged = append(acknowledged, index)
	}
	take()
	filler := filepath.Join(disk, "filler")
	for _, leave := range []int64{100 << 20, 0} {
		fill(t, disk, filler, leave)
		resp, err := http.Post(b.url+"/v1/events", "application/cloudevents+json", strings.NewReader(string(b.event(n))))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(answer), "urn:escortlog:problem:disk-full") ||
			resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("with %d bytes free an event is answered %d %v %s", leave, resp.StatusCode, resp.Header, answer)
		}
		b.readAll(acknowledged)
		b.readiness(http.StatusServiceUnavailable, "disk is nearly full")
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		take() // and the event that was refused is the one taken now
		b.readAll(acknowledged)
		b.readiness(http.StatusOK, "ready")
	}
	b.end()
	b.run("fsck", "--data", b.dir)

	// A start on a full disk is refused, with a word about the space; then it works.
	fill(t, disk, filler, 0)
	out, err := exec.Command(b.binary, "serve", "--data", b.dir, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "free") {
		t.Errorf("a start on a full disk: %v\n%s", err, out)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.start(top)
	b.readAll(acknowledged)
	take()
	b.end()
}

// readiness waits until /readyz answers so: the server looks at the free space once
// a second.
func (b *backedUp) readiness(status int, text string) {
	b.Helper()
	var last string
	for range 50 {
		resp, err := http.Get(b.url + "/readyz")
		if err != nil {
			b.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == status && strings.Contains(string(answer), text) {
			return
		}
		last = fmt.Sprintf("%d %s", resp.StatusCode, answer)
		time.Sleep(100 * time.Millisecond)
	}
	b.Errorf("/readyz does not answer %d %s, but %s", status, text, last)
}

// fill fills the file system until so many bytes are free.
func fill(t *testing.T, disk, filler string, leave int64) {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(disk, &s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*int64(s.Bsize)-leave); err != nil {
		t.Fatal(err)
	}
}

// readAll reads entries of which each must be there.
func (b *backedUp) readAll(indexes []int64) {
	b.Helper()
	for _, index := range indexes {
		resp, err := http.Get(fmt.Sprintf("%s/v1/entries/%d", b.url, index))
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("leaf %d is answered %d", index, resp.StatusCode)
		}
	}
}
