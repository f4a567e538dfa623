package server

import (
	"bytes"
	"net"
	"strings"
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
