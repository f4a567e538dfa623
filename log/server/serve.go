package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdownTimeout is how long requests under way have to end after the waiters
// among them were released.
const shutdownTimeout = 20 * time.Second

// Serve answers on l until ctx ends, or the log stops, or serving fails. Then it
// releases every waiter, lets requests under way end, and returns when no
// goroutine of it is left. It closes l. tlsConfig may be nil.
//
// The error is nil when ctx ended, and wraps the log's when the log stopped.
func (s *Server) Serve(ctx context.Context, l net.Listener, tlsConfig *tls.Config) error {
	l = &limitedListener{Listener: l, room: make(chan struct{}, s.cfg.Limits.Connections), refused: s.metrics.connectionsRefused.Inc}
	srv := &http.Server{
		Handler:           s.handler,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: min(s.cfg.Limits.HeaderTimeout, s.cfg.Limits.BodyTimeout),
		// Until a body has been read, or what is left of one that was refused
		// has been thrown away; waiting for a proof is not reading.
		ReadTimeout: s.cfg.Limits.BodyTimeout,
		// A submission waits for its proof between reading and writing, so its
		// answer has a deadline of its own; this one is the last resort.
		WriteTimeout:   s.cfg.Limits.BodyTimeout + s.cfg.Limits.CommitTimeout + s.cfg.Limits.MaxWait + s.cfg.Limits.WriteTimeout,
		IdleTimeout:    s.cfg.Limits.IdleTimeout,
		MaxHeaderBytes: 32 << 10,
		ConnContext:    withConn,
		ErrorLog:       slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			served <- srv.ServeTLS(l, "", "")
			return
		}
		served <- srv.Serve(l)
	}()

	var cause error
	select {
	case <-ctx.Done():
	case <-s.log.Done():
		cause = fmt.Errorf("the log stopped: %w", s.log.Err())
	case err := <-served:
		s.Stop()
		return fmt.Errorf("serving: %w", errors.Join(err, srv.Close()))
	}

	s.Stop()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		s.cfg.Logger.Warn("requests were still under way at shutdown and are broken off", "error", errors.Join(err, srv.Close()))
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		cause = errors.Join(cause, fmt.Errorf("serving: %w", err))
	}
	return cause
}

// limitedListener closes connections beyond a number at once, rather than
// leaving them to hang in the queue of the kernel behind others.
type limitedListener struct {
	net.Listener
	room    chan struct{}
	refused func()
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.room <- struct{}{}:
			return &limitedConn{Conn: conn, leave: func() { <-l.room }}, nil
		default:
			l.refused()
			conn.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	once  sync.Once
	leave func()

	// held is the first part of an answer that is longer than net/http's buffer,
	// waiting to be written with the rest; see joinWrites. Like joining it
	// belongs to the goroutine that serves the connection.
	held    *[2 * writeBuffer]byte
	joining bool
}

// writeBuffer is how much net/http gathers before it writes, in bytes.
const writeBuffer = 4 << 10

// heldBuffers are kept for reuse: an answer needs one for a moment, and most
// connections wait.
var heldBuffers = sync.Pool{New: func() any { return new([2 * writeBuffer]byte) }}

// connKey is under what the context of a request holds its connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// joinWrites has the answer to r, with this header and as long a body, written at
// once. A receipt is a little longer than net/http's buffer, which costs two
// writes, each as dear as all else about a small request. Nothing follows for a
// HEAD request, and connections under TLS write records.
func joinWrites(r *http.Request, h http.Header, body int) {
	conn, ok := r.Context().Value(connKey{}).(*limitedConn)
	if !ok || r.Method == http.MethodHead {
		return
	}
	length := body // of the answer, at least: there is a line of status, too
	for name, values := range h {
		for _, value := range values {
			length += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	conn.joining = length > writeBuffer
}

// Write holds back the first full buffer of an answer that joinWrites has found
// to be longer, so that another write follows.
func (c *limitedConn) Write(b []byte) (int, error) {
	if c.joining {
		c.joining = false
		if len(b) == writeBuffer {
			c.held = heldBuffers.Get().(*[2 * writeBuffer]byte)
			return copy(c.held[:], b), nil
		}
	}
	if c.held == nil {
		return c.Conn.Write(b)
	}
	held := c.held
	c.held = nil
	defer heldBuffers.Put(held)
	var n int64
	var err error
	if len(b) <= writeBuffer {
		var written int
		written, err = c.Conn.Write(held[:writeBuffer+copy(held[writeBuffer:], b)])
		n = int64(written)
	} else {
		buffers := net.Buffers{held[:writeBuffer], b}
		n, err = buffers.WriteTo(c.Conn)
	}
	return int(max(n-writeBuffer, 0)), err
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}
