package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Clients of load tests and benchmarks are processes of their own: what they use
// of processor time, memory and files is not the server's.

// clientVariable is the environment variable that makes this test binary a
// client: the name of what it does, and arguments.
const clientVariable = "ESCORTLOG_TEST_CLIENT"

// clientProcess is such a client. It prints "connected" when it is ready, waits
// for a line, and prints another when it is done.
type clientProcess struct {
	f     *fixture
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// startClient starts a client and waits until it is ready.
func (f *fixture) startClient(does string, arguments ...any) *clientProcess {
	f.Helper()
	c := &clientProcess{f: f, cmd: exec.Command(os.Args[0], "-test.run=^$")}
	c.cmd.Env = append(os.Environ(), clientVariable+"="+does+" "+fmt.Sprintln(arguments...))
	c.cmd.Stderr = os.Stderr
	var err error
	c.in, err = c.cmd.StdinPipe()
	f.must(err)
	out, err := c.cmd.StdoutPipe()
	f.must(err)
	c.lines = bufio.NewScanner(out)
	f.must(c.cmd.Start())
	c.expect("connected")
	return c
}

// proceed tells the client to go on.
func (c *clientProcess) proceed() {
	c.f.Helper()
	_, err := io.WriteString(c.in, "go\n")
	c.f.must(err)
}

// expect reads a line that begins with these words and returns what follows.
func (c *clientProcess) expect(words string) (rest string) {
	c.f.Helper()
	c.lines.Scan()
	rest, ok := strings.CutPrefix(c.lines.Text(), words)
	if !ok {
		c.f.Fatalf("a client says %q instead of %q; %v", c.lines.Text(), words, c.cmd.Wait())
	}
	return rest
}

// end waits for the client to end.
func (c *clientProcess) end() {
	c.f.Helper()
	c.f.must(c.in.Close())
	c.f.must(c.cmd.Wait())
}

// runClient is main of a client.
func runClient(arguments string) error {
	does, rest, _ := strings.Cut(arguments, " ")
	switch does {
	case "shoot":
		return runShoot(rest)
	case "flood":
		return runFlood(rest)
	case "crowd":
		return runCrowd(rest)
	}
	return fmt.Errorf("no client does %q", does)
}

// ready says that the client is, and waits for a line.
func ready() error {
	fmt.Println("connected")
	_, err := fmt.Scanln(new(string))
	return err
}

// readRequests reads requests, each behind its length.
func readRequests(file string) (requests [][]byte, err error) {
	data, err := os.ReadFile(file)
	for err == nil && len(data) > 0 {
		end := 4 + binary.BigEndian.Uint32(data)
		requests, data = append(requests, data[4:end]), data[end:]
	}
	return requests, err
}

// runShoot sends requests as fast as they are answered.
func runShoot(arguments string) error {
	var url, file string
	var connections, n, status int
	if _, err := fmt.Sscan(arguments, &url, &connections, &file, &n, &status); err != nil {
		return err
	}
	requests, err := readRequests(file)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, connections)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", strings.TrimPrefix(url, "http://")); err != nil {
			return err
		}
	}
	if err := ready(); err != nil {
		return err
	}
	if err := shootOver(conns, n, func(i int) []byte { return requests[i%len(requests)] }, status); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// otherAddress is where clients come from that must not hurt those from
// 127.0.0.1.
var otherAddress = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}

// runFlood sends the first request of a file so often a second, whatever is
// answered, until it is told to end, over connections enough to keep that up.
func runFlood(arguments string) error {
	var url, file string
	var perSecond int
	if _, err := fmt.Sscan(arguments, &url, &file, &perSecond); err != nil {
		return err
	}
	requests, err := readRequests(file)
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	tokens := make(chan struct{})
	answered := make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			dialer := net.Dialer{LocalAddr: otherAddress}
			conn, err := dialer.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			for range tokens {
				_, err := conn.Write(requests[0])
				status := 0
				if err == nil {
					status, err = readAnswer(r)
				}
				mu.Lock()
				answered[status]++
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	end := make(chan error, 1)
	go func() {
		_, err := fmt.Scanln(new(string))
		end <- err
	}()
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	owed := 0.0
	for {
		select {
		case err = <-end:
			close(tokens)
			wg.Wait()
			fmt.Println("done", answered)
			return err
		case <-ticker.C:
		}
		for owed = min(owed+float64(perSecond)*tick.Seconds(), float64(perSecond)); owed >= 1; owed-- {
			select {
			case tokens <- struct{}{}:
				continue
			case <-time.After(tick):
			}
			break // all connections are busy; what is owed is sent later
		}
	}
}

// crowdKinds are what those in a crowd send before they do as runCrowd says.
var crowdKinds = [...]struct {
	name, first string
	drip        bool // go on with a byte a second
}{
	{"silent", "", false},
	{"half a header", "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Half: ", false},
	{"slow header", "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: ", true},
	{"slow body", "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: " + typeDSSE + "\r\nContent-Length: 100000\r\n\r\n", true},
}

// runCrowd opens connections that never send a whole request and reports how
// many of them the server closed, and the longest that it left one open.
func runCrowd(arguments string) error {
	var url string
	var n int
	var patience time.Duration
	if _, err := fmt.Sscan(arguments, &url, &n, (*int64)(&patience)); err != nil {
		return err
	}
	type member struct {
		net.Conn
		opened time.Time
	}
	crowd := make([]member, n)
	var dialing sync.WaitGroup
	failed := make(chan error, n)
	for worker := range 32 {
		dialing.Go(func() {
			dialer := net.Dialer{LocalAddr: otherAddress}
			for i := worker; i < n; i += 32 {
				conn, err := dialer.Dial("tcp", strings.TrimPrefix(url, "http://"))
				if err != nil {
					failed <- err
					return
				}
				crowd[i] = member{conn, time.Now()}
				if _, err := io.WriteString(conn, crowdKinds[i%len(crowdKinds)].first); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	dialing.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return err
	}
	fmt.Println("connected")
	var mu sync.Mutex
	var closed int
	var longest time.Duration
	kind := ""
	var wg sync.WaitGroup
	for i, m := range crowd {
		wg.Go(func() {
			defer m.Close()
			gone := make(chan struct{})
			var dripping sync.WaitGroup
			if crowdKinds[i%len(crowdKinds)].drip {
				dripping.Go(func() {
					ticker := time.NewTicker(time.Second)
					defer ticker.Stop()
					for {
						select {
						case <-gone:
							return
						case <-ticker.C:
						}
						if _, err := m.Write([]byte{' '}); err != nil {
							return
						}
					}
				})
			}
			_ = m.SetReadDeadline(m.opened.Add(patience))
			_, err := io.Copy(io.Discard, m)
			took := time.Since(m.opened)
			close(gone)
			dripping.Wait()
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			closed++
			if took > longest {
				longest, kind = took, crowdKinds[i%len(crowdKinds)].name
			}
		})
	}
	wg.Wait()
	fmt.Println("closed", closed, int64(longest), kind)
	_, err := fmt.Scanln(new(string))
	return err
}
