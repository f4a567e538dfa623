package outbox

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/event"
)

// image is an outbox.log and, after each of its steps, how long it was and how
// the outbox stood.
type image struct {
	content []byte
	sizes   []int64
	status  []Status
}

// makeImage makes a file with every kind of frame.
func makeImage(t *testing.T) image {
	t.Helper()
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f, func(c *Config) { c.Period = 60e9 })
	var im image
	name := filepath.Join(o.config.Dir, logName)
	step := func() {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		im.sizes = append(im.sizes, info.Size())
		im.status = append(im.status, o.Status())
	}
	step()
	if err := o.closePeriod(o.now()); err != nil {
		t.Fatal(err)
	}
	step()
	for i := range 2 {
		mustAppend(t, o, paused(fmt.Sprint(i)))
		step()
	}
	f.answer = func(_ int, ev *event.Event) *client.Result {
		if ev.SequenceNumber() == 2 {
			return refusal422()
		}
		return nil
	}
	batch, err := o.batch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.submit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	step()
	mustAppend(t, o, paused("last"))
	step()
	if im.content, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	return im
}

// place writes a file as the outbox.log of a fresh directory.
func (im image) place(t *testing.T, content []byte) Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, logName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Dir: dir, Source: testSource, Key: testKey, Log: newFakeLog(), Period: 60e9}
}

// TestTornTail cuts the file at every byte of its tail, also with zeros put behind: every
// step that was complete is there, the torn one is not, and the source goes on.
func TestTornTail(t *testing.T) {
	im := makeImage(t)
	complete := 0
	config := im.place(t, nil)
	name := filepath.Join(config.Dir, logName)
	for cut := im.sizes[0]; cut <= int64(len(im.content)); cut++ {
		for complete+1 < len(im.sizes) && im.sizes[complete+1] <= cut {
			complete++
		}
		for _, zeros := range []int{0, 100} {
			// The last frame byte by byte, and so the ends of all others; what
			// lies within them only here and there.
			near := cut-im.sizes[complete] < 12 || complete+1 < len(im.sizes) && im.sizes[complete+1]-cut < 40
			if !near && cut < im.sizes[len(im.sizes)-2] && cut%29 != 0 || zeros > 0 && cut%7 != 0 || testing.Short() && cut%3 != 0 {
				continue
			}
			content := append(im.content[:cut:cut], make([]byte, zeros)...)
			// A new file: file systems flush one that is cut to nothing and
			// written again.
			if err := errors.Join(os.Remove(name), os.WriteFile(name, content, 0o600)); err != nil {
				t.Fatal(err)
			}
			// A sync for each of some thousand cuts is not what is tested here.
			o, err := open(config, func(*os.File) error { return nil })
			if err != nil {
				t.Fatalf("cut at %d of %d, %d zeros: %v", cut, len(im.content), zeros, err)
			}
			got, want := o.Status(), im.status[complete]
			if got.LastSequence != want.LastSequence || got.Pending != want.Pending || got.Logged != want.Logged || got.Refused != want.Refused {
				t.Fatalf("cut at %d, %d zeros: %+v, want %+v", cut, zeros, got, want)
			}
			if info, err := os.Stat(name); err != nil || info.Size() != im.sizes[complete] {
				t.Fatalf("cut at %d, %d zeros: %d bytes are left, %v", cut, zeros, info.Size(), err)
			}
			if near {
				if ticket, err := o.Append(paused("next")); err != nil || ticket.Sequence != want.LastSequence+1 {
					t.Fatalf("cut at %d: %+v, %v", cut, ticket, err)
				}
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if complete != len(im.sizes)-1 {
		t.Errorf("%d steps of %d were seen", complete, len(im.sizes))
	}
}

// TestDamage changes single bits: that is never taken for a torn tail, and the
// file stays as it is.
func TestDamage(t *testing.T) {
	im := makeImage(t)
	config := im.place(t, nil)
	name := filepath.Join(config.Dir, logName)
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		at, bit := r.IntN(len(im.content)), byte(1)<<r.IntN(8)
		damaged := append([]byte(nil), im.content...)
		damaged[at] ^= bit
		if err := errors.Join(os.Remove(name), os.WriteFile(name, damaged, 0o600)); err != nil {
			t.Fatal(err)
		}
		if o, err := Open(config); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d of %d changed by %#x: %v, %v", at, len(im.content), bit, o, err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(damaged) {
			t.Fatalf("byte %d: the file was changed (%v)", at, err)
		}
	}
}

// TestDamageWhileOpen: bytes that changed on disk are not sent.
func TestDamageWhileOpen(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	mustAppend(t, o, paused("x"))
	if _, err := o.journal.file.WriteAt([]byte("y"), o.pending[0].place.offset+100); err != nil {
		t.Fatal(err)
	}
	if err := o.Run(t.Context()); !errors.Is(err, ErrCorrupt) || f.calls != 0 {
		t.Errorf("%v after %d calls", err, f.calls)
	}
}

// TestNotDurableNotSent: bytes that may not be on disk never reach the log,
// since after a power cut their number would be another event's.
func TestNotDurableNotSent(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	mustAppend(t, o, paused("safe"))
	broken := errors.New("input/output error")
	o.sync = func(*os.File) error {
		batch, err := o.batch()
		if err != nil || len(batch) != 1 {
			t.Errorf("before its sync, %d events can be sent, %v", len(batch), err)
		}
		return broken
	}
	if _, err := o.Append(paused("unsafe")); !errors.Is(err, ErrStopped) || !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	if _, err := o.Append(paused("more")); !errors.Is(err, ErrStopped) {
		t.Errorf("afterwards: %v", err)
	}
	if err := o.Run(t.Context()); !errors.Is(err, ErrStopped) || f.calls != 0 {
		t.Errorf("%v after %d calls", err, f.calls)
	}
	if s := o.Status(); !strings.Contains(s.Trouble, "input/output error") {
		t.Errorf("status %+v", s)
	}
}

// TestFailedWrite: a write that fails leaves no trace.
func TestFailedWrite(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	mustAppend(t, o, paused("first"))
	readOnly, err := os.Open(filepath.Join(o.config.Dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	good := o.journal.file
	o.journal.file = readOnly
	_, err = o.Append(paused("nowhere"))
	o.journal.file = good
	if err == nil {
		t.Fatal("it was written")
	}
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	// Not even cutting it off was possible, so nothing more is written.
	if _, err := o.Append(paused("after")); !errors.Is(err, ErrStopped) {
		t.Errorf("error %v", err)
	}
	again := openTest(t, crash(t, o), f)
	if ticket := mustAppend(t, again, paused("second")); ticket.Sequence != 2 {
		t.Errorf("%+v", ticket)
	}
	drain(t, again)
	chained(t, f, 2)
}

// TestRewrite: the file does not grow for ever, and forgets nothing that counts.
func TestRewrite(t *testing.T) {
	f := newFakeLog()
	o := openTest(t, t.TempDir(), f)
	o.sync = func(*os.File) error { return nil }
	name := filepath.Join(o.config.Dir, logName)
	long := strings.Repeat("long ", 800)
	const count = 400
	var largest int64
	for i := range count {
		mustAppend(t, o, paused(fmt.Sprint(long, i)))
		if i%100 != 99 {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
		drain(t, o)
	}
	mustAppend(t, o, paused("pending"))
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if whole := int64(count * len(long)); largest > whole*9/10 || info.Size() > minDead+minDead/2 {
		t.Errorf("%d bytes at most, now %d, for %d bytes of text", largest, info.Size(), whole)
	}
	// A crash may leave a new file half written.
	dir := crash(t, o)
	if err := os.WriteFile(filepath.Join(dir, newName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := openTest(t, dir, f)
	again.mu.Lock()
	err = again.rewrite()
	again.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if s := again.Status(); s.Pending != 1 || s.LastSequence != count+1 || s.Logged != count {
		t.Errorf("status %+v", s)
	}
	mustAppend(t, again, paused("after"))
	last := openTest(t, crash(t, again), f)
	drain(t, last)
	chained(t, f, count+2)
}

// TestKill kills a process that appends, again and again, and then holds what it
// was told against what is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[string]string) // sequence to id
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
		cmd.Env = append(os.Environ(), "OUTBOX_KILL_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			text, ok := strings.CutPrefix(lines.Text(), "ack ")
			if !ok {
				continue
			}
			number, id, _ := strings.Cut(text, " ")
			if acknowledged[number] != "" {
				t.Fatalf("number %s was given to %s and to %s", number, acknowledged[number], id)
			}
			acknowledged[number] = id
			if n == 5+10*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
	}
	f := newFakeLog()
	o := openTest(t, dir, f)
	drain(t, o)
	chained(t, f, int(o.Status().LastSequence))
	held := make(map[string]string)
	for _, ev := range f.logged() {
		held[fmt.Sprint(ev.SequenceNumber())] = ev.ID
	}
	for number, id := range acknowledged {
		if held[number] != id {
			t.Errorf("number %s was acknowledged as %s and is %q", number, id, held[number])
		}
	}
	if len(acknowledged) < 4*5 {
		t.Errorf("only %d were acknowledged", len(acknowledged))
	}
}

// TestKillChild is the process that TestKill kills.
func TestKillChild(t *testing.T) {
	dir := os.Getenv("OUTBOX_KILL_DIR")
	if dir == "" {
		t.Skip("only as a child of TestKill")
	}
	o, err := Open(Config{Dir: dir, Source: testSource, Key: testKey, Log: newFakeLog()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		ticket, err := o.Append(paused(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ack %d %s\n", ticket.Sequence, ticket.ID)
	}
}
