package main

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// front is one party's address. It stays open for the whole tour; what stands
// behind it comes and goes.
type front struct {
	url     string
	server  *http.Server
	handler atomic.Pointer[http.Handler]
	ended   chan error
}

// newFront listens on the address, port 0 for a free one.
func newFront(address string) (*front, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	f := &front{url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	go func() { f.ended <- f.server.Serve(l) }()
	return f, nil
}

// ServeHTTP passes the request to whoever is behind the front now.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := f.handler.Load()
	if h == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "down for the moment", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

// show puts a handler behind the front; nil takes away what was there.
func (f *front) show(h http.Handler) {
	if h == nil {
		f.handler.Store(nil)
		return
	}
	f.handler.Store(&h)
}

// close ends the front and whatever is still connected to it.
func (f *front) close() error {
	err := f.server.Close()
	if ended := <-f.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
