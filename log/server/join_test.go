package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// recording is a connection that remembers what was written.
type recording struct {
	net.Conn
	bytes.Buffer
}

func (r *recording) Write(b []byte) (int, error) { return r.Buffer.Write(b) }
func (r *recording) Read(b []byte) (int, error)  { return r.Buffer.Read(b) }

// TestJoinedWrites: the first full buffer of a long answer waits for what
// follows, once, and nothing else ever waits.
func TestJoinedWrites(t *testing.T) {
	full := []byte(strings.Repeat("f", writeBuffer))
	var to recording
	c := &limitedConn{Conn: &to}
	write := func(b []byte, want string) {
		t.Helper()
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", len(b), n, err)
		}
		if to.String() != want {
			t.Fatalf("%d bytes were written, want %d", to.Len(), len(want))
		}
	}
	write(full, string(full)) // nobody announced a long answer
	to.Reset()
	c.joining = true
	write(full, "")
	write([]byte("rest"), string(full)+"rest")
	write(full, string(full)+"rest"+string(full))
	to.Reset()
	c.joining = true
	write([]byte("short"), "short")
	write(full, "short"+string(full))
}

// counting is a listener that counts the writes to its connections.
type counting struct {
	net.Listener
	writes atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &countedConn{conn, l}, err
}

type countedConn struct {
	net.Conn
	l *counting
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.l.writes.Add(1)
	return c.Conn.Write(b)
}

// TestJoinedAnswers: an answer of any length arrives whole, and one that is
// longer than net/http's buffer in one write, up to where it would have to be
// copied.
func TestJoinedAnswers(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counting{Listener: tcp}
	srv := &http.Server{ConnContext: withConn, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		length, _ := strconv.Atoi(r.URL.RawQuery)
		if err := writeJoined(w, r, http.StatusOK, typeJSON, bytes.Repeat([]byte("b"), length)); err != nil {
			t.Error(err)
		}
	})}
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(&limitedListener{Listener: l, room: make(chan struct{}, 1), refused: func() {}})
	}()
	total := func(length int) int {
		t.Helper()
		resp, err := http.Get("http://" + tcp.Addr().String() + "/?" + strconv.Itoa(length))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(body) != length {
			t.Fatalf("%d of %d bytes arrived, %v", len(body), length, err)
		}
		header := len("HTTP/1.1 200 OK\r\n\r\n")
		for name, values := range resp.Header {
			header += len(name) + len(values[0]) + len(": \r\n")
		}
		return header + length
	}
	header := total(1000) - 1000
	for length := writeBuffer - header - 5; length < writeBuffer+2; length++ {
		before := l.writes.Load()
		size := total(length)
		// The date and the line of status are not foreseen.
		foreseen := size <= writeBuffer || size > writeBuffer+64
		if writes := l.writes.Load() - before; foreseen && writes != 1 {
			t.Errorf("an answer of %d bytes took %d writes", size, writes)
		}
	}
	total(2 * writeBuffer)
	total(100 * writeBuffer)
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	<-served
}
