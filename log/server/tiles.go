package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/storage"
)

const (
	// "This endpoint is mutable, so its headers SHOULD prevent caching beyond a
	// few seconds" (https://c2sp.org/tlog-tiles#checkpoints).
	cacheCheckpoint = "public, max-age=1"

	// "This endpoint is immutable, so its caching headers SHOULD be long-lived"
	// (https://c2sp.org/tlog-tiles#merkle-tree).
	cacheForever = "public, max-age=31536000, immutable"

	// What only some may read, nobody else's cache may keep.
	cachePrivate = "private, max-age=31536000, immutable"
)

// getCheckpoint serves the published checkpoint.
func (s *Server) getCheckpoint(w http.ResponseWriter, r *http.Request) {
	pub := s.log.Published()
	if pub == nil {
		writeProblem(w, notPublished("No checkpoint is published yet."))
		return
	}
	w.Header().Set("Cache-Control", cacheCheckpoint)
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", pub.Note)
}

// getTile serves a hash tile or an entry bundle of any width up to a signed
// head. Its path has one spelling; every other is 404.
func (s *Server) getTile(w http.ResponseWriter, r *http.Request) {
	t, err := tile.ParsePath(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	if err != nil {
		writeProblem(w, noSuchTile(r))
		return
	}
	if t.Level == tile.Entries {
		s.serveBundle(w, r, t)
		return
	}
	data, err := s.log.Tile(r.Context(), t)
	if err != nil {
		s.failTile(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", cacheForever)
	writeBody(w, http.StatusOK, typeLeaf, data)
}

func (s *Server) serveBundle(w http.ResponseWriter, r *http.Request, t tile.Tile) {
	if !s.cfg.ReadAuth.allows(r) {
		s.refuseReader(w)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	data, gzipped, err := s.readBundle(r, t)
	if err != nil {
		s.failTile(w, r, err)
		return
	}
	if gzipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Cache-Control", cacheForever)
	if !s.cfg.ReadAuth.open() {
		h.Set("Cache-Control", cachePrivate)
	}
	writeBody(w, http.StatusOK, typeLeaf, data)
}

// readBundle returns a bundle as it is stored where the reader takes that.
func (s *Server) readBundle(r *http.Request, t tile.Tile) (data []byte, gzipped bool, err error) {
	if acceptsGzip(r) {
		return s.log.Bundle(r.Context(), t)
	}
	data, err = s.log.PlainBundle(r.Context(), t)
	return data, false, err
}

func noSuchTile(r *http.Request) *refusal {
	return refuse("not-found", "There is no tile at %s.", r.URL.EscapedPath())
}

func (s *Server) failTile(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, log.ErrNotFound) || errors.Is(err, log.ErrNotPublished) {
		writeProblem(w, noSuchTile(r))
		return
	}
	s.fail(w, r, readRefusal(err))
}

// readRefusal turns an error of reading the log into a refusal.
func readRefusal(err error) error {
	switch {
	case errors.Is(err, log.ErrNotPublished):
		return notPublished("No published checkpoint covers this yet.")
	case errors.Is(err, log.ErrNotFound):
		return refuse("not-found", "There is no such thing in the log.")
	case errors.Is(err, storage.ErrCorrupt):
		return refuse("corrupt", "What is stored is not what was written.").because(err)
	case errors.Is(err, log.ErrStopped), errors.Is(err, storage.ErrClosed):
		return refuse("log-stopped", "The log is shutting down.").after(retryRead).because(err)
	default:
		return fmt.Errorf("reading the log: %w", err)
	}
}

// number reads a size or an index in its one spelling. The error is for the end of
// a sentence about it.
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && '1' <= s[0] && s[0] <= '9':
		return 0, errors.New("no log grows beyond 2^63-1")
	case err != nil || n < 0 || strconv.FormatInt(n, 10) != s:
		return 0, errors.New("a number is decimal here, without sign or leading zeros")
	}
	return n, nil
}
