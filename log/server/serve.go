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
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
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
	held    []byte
	joining bool
}

// writeBuffer is how much net/http gathers before it writes, in bytes.
const writeBuffer = 4 << 10

// connKey is under what the context of a request holds its connection.
type connKey struct{}

// joinWrites has the answer to r, whose body has this many bytes, written at
// once. A receipt is a little longer than net/http's buffer, which costs two
// writes, each as dear as all else about a small request. Nothing follows for a
// HEAD request, and connections under TLS write records.
func joinWrites(r *http.Request, body int) {
	if conn, ok := r.Context().Value(connKey{}).(*limitedConn); ok && body > writeBuffer && r.Method != http.MethodHead {
		conn.joining = true
	}
}

// Write holds back the first full buffer of an answer that joinWrites has
// announced: its body alone is longer, so another write follows.
func (c *limitedConn) Write(b []byte) (int, error) {
	if c.joining {
		c.joining = false
		if len(b) == writeBuffer {
			c.held = append(c.held[:0], b...)
			return len(b), nil
		}
	}
	if len(c.held) == 0 {
		return c.Conn.Write(b)
	}
	buffers := net.Buffers{c.held, b}
	n, err := buffers.WriteTo(c.Conn)
	n -= int64(len(c.held))
	c.held = c.held[:0]
	return int(max(n, 0)), err
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}
