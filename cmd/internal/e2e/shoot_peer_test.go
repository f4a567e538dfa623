//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shoot sends n requests over so many connections and reads the answers, with as little of a client as there can be,
// so that what is measured is the server. Every answer must have the status. It returns the seconds it took.
func shoot(b *testing.B, url string, connections, n int, request func(i int) []byte, status int) float64 {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range connections {
		wg.Go(func() {
			if err := shootOne(url, &next, int64(n), request, status); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return time.Since(start).Seconds()
}

// shootOne is one connection of shoot.
func shootOne(url string, next *atomic.Int64, n int64, request func(i int) []byte, status int) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
		if _, err := conn.Write(request(int(i))); err != nil {
			return err
		}
		if got, err := readAnswer(r); err != nil || got != status {
			return fmt.Errorf("request %d: status %d, %w", i, got, err)
		}
	}
	return nil
}

// readAnswer reads one answer and drops its body.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length := -1
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) == 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("status %d: the answer does not say how long it is", status)
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return status, err
}

// post is a whole request.
func post(path, contentType string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, contentType, len(body)), body...)
}

// ticksPerSecond is in which units /proc counts CPU time, on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuOf is how many seconds of CPU, user and system, a running process has used.
func cpuOf(b *testing.B, p *process) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	// What stands before the last parenthesis is the program's name, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0.0
	for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5)
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks / ticksPerSecond
}

// procNumber is the number behind a name in one of a process's files in /proc.
func procNumber(b *testing.B, p *process, file, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("/proc/PID/%s says nothing of %s", file, name)
	return 0
}

// verifying is how many Ed25519 signatures over 600 bytes all cores verify in a second, and one second of CPU.
func verifying() (perSecond, perCPUSecond float64) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	message := bytes.Repeat([]byte("x"), leafSize)
	sig := ed25519.Sign(key, message)
	const each = 8000
	cpu, start := cpuSeconds(), time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for range each {
				if !ed25519.Verify(public, message, sig) {
					panic("a good signature does not verify")
				}
			}
		})
	}
	wg.Wait()
	n := float64(each * runtime.GOMAXPROCS(0))
	return n / time.Since(start).Seconds(), n / (cpuSeconds() - cpu)
}
