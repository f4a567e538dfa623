package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/outbox"
	"github.com/escortlog/escortlog/log/event"
	jsonv2 "github.com/go-json-experiment/json"
)

// intakeEvent is an event as programs give it to the agent.
type intakeEvent struct {
	ID         string            `json:"id"`
	Type       string            `json:"type"` // full name, or short as session.started
	Subject    string            `json:"subject"`
	Time       *time.Time        `json:"time"`
	DataSchema string            `json:"dataschema"`
	Extensions map[string]string `json:"extensions"`
	Data       json.RawMessage   `json:"data"`
}

// errNotEvent: the text is not what the agent takes.
var errNotEvent = errors.New("want a JSON object with type, subject, data, and where wanted id, time, dataschema and extensions")

func parseIntake(text []byte) (outbox.Event, error) {
	var in intakeEvent
	if err := jsonv2.Unmarshal(text, &in, jsonv2.RejectUnknownMembers(true)); err != nil {
		return outbox.Event{}, fmt.Errorf("%w: %s", errNotEvent, intakeFault(err))
	}
	if in.Type == "" || in.Subject == "" || len(in.Data) == 0 || in.Data[0] != '{' {
		return outbox.Event{}, errNotEvent
	}
	e := outbox.Event{
		ID: in.ID, Type: fullType(in.Type), Subject: in.Subject,
		DataSchema: in.DataSchema, Extensions: in.Extensions, Data: in.Data,
	}
	if in.Time != nil {
		e.Time = *in.Time
	}
	return e, nil
}

// intakeFault says what is wrong with the text of an event. The JSON package would
// say which Go type it does not fit.
func intakeFault(err error) string {
	var misfit *jsonv2.SemanticError
	switch {
	case !errors.As(err, &misfit):
		return err.Error()
	case errors.Is(err, jsonv2.ErrUnknownName):
		return fmt.Sprintf("%s is none of these", misfit.JSONPointer)
	case misfit.JSONPointer == "":
		return "this is no object"
	case misfit.JSONPointer == "/time":
		return "at /time: want a string with a time such as 2026-03-01T09:00:00Z"
	case misfit.JSONPointer == "/extensions":
		return "at /extensions: want an object of strings"
	}
	return fmt.Sprintf("at %s: want a string", misfit.JSONPointer)
}

// agentLine is the answer to one line of standard input.
type agentLine struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// agentLines takes one event a line until the input or ctx ends, and returns how
// many lines were none.
func agentLines(ctx context.Context, box *outbox.Outbox, stdin io.Reader, out io.Writer) (broken int, err error) {
	lines := make(chan item)
	read := make(chan error, 1)
	go func() {
		// Left behind when ctx ends: it may wait for standard input, and the
		// process ends.
		defer close(lines)
		read <- readLines(bufio.NewReaderSize(stdin, maxItem+2), func(it item) error {
			select {
			case lines <- it:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for {
		var it item
		var open bool
		select {
		case it, open = <-lines:
		case <-ctx.Done():
			return broken, nil
		}
		if !open {
			if err := <-read; ctx.Err() == nil {
				return broken, err
			}
			return broken, nil
		}
		ok, err := agentTake(ctx, box, it, out)
		switch {
		case ctx.Err() != nil && err != nil:
			return broken, nil
		case err != nil:
			return broken, err
		case !ok:
			broken++
		}
	}
}

// agentTake takes one line and answers it. The error is one that ends the intake.
func agentTake(ctx context.Context, box *outbox.Outbox, it item, out io.Writer) (ok bool, err error) {
	var ticket outbox.Ticket
	var e outbox.Event
	err = it.err
	if err == nil {
		e, err = parseIntake(it.raw)
	}
	if err == nil {
		ticket, err = box.AppendWait(ctx, e)
	}
	switch {
	case err == nil:
		return true, printJSON(out, ticket)
	case isEventsFault(err) || it.err != nil:
		return false, printJSON(out, agentLine{Line: it.line, Error: err.Error()})
	}
	return false, err
}

// isEventsFault tells an event that is wrong from an outbox that is.
func isEventsFault(err error) bool {
	var wrong *event.Error
	return errors.As(err, &wrong) || errors.Is(err, errNotEvent) || errors.Is(err, outbox.ErrDuplicate)
}

// serve answers programs on this machine until ctx ends. Requests that have
// begun are answered.
func (o *agentOptions) serve(ctx context.Context, box *outbox.Outbox, l net.Listener, out, errs io.Writer) error {
	server := &http.Server{
		Handler: agentHandler(box), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	fmt.Fprintf(errs, "taking events at http://%s/v1/events\n", l.Addr())
	if _, err := fmt.Fprintf(out, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain)
	defer cancel()
	err := server.Shutdown(bound)
	if errors.Is(err, context.DeadlineExceeded) { // a program that does not finish its request
		err = server.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// agentHandler is the agent's HTTP surface.
func agentHandler(box *outbox.Outbox) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, r *http.Request) { agentPost(w, r, box) })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "application/json", box.Status())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page in a browser on this machine could reach the agent under a
		// name of its own that resolves to a loopback address.
		if !isLoopbackHost(r.Host) {
			refuse(w, http.StatusForbidden, "not-local", fmt.Errorf("this agent is not %q", r.Host))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func agentPost(w http.ResponseWriter, r *http.Request, box *outbox.Outbox) {
	// No form and no script of another origin can send this type unasked.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "unsupported-media-type", errors.New("the Content-Type must be application/json"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxItem))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			refuse(w, http.StatusRequestEntityTooLarge, "too-large", errItemTooLarge)
			return
		}
		refuse(w, http.StatusBadRequest, "malformed-request", err)
		return
	}
	e, err := parseIntake(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed-request", err)
		return
	}
	ticket, err := box.Append(e)
	var wrong *event.Error
	switch {
	case err == nil:
		answer(w, http.StatusAccepted, "application/json", ticket)
	case errors.As(err, &wrong):
		refuse(w, wrong.Kind.Status(), wrong.Slug, err)
	case errors.Is(err, outbox.ErrDuplicate):
		refuse(w, http.StatusConflict, "conflict", err)
	case errors.Is(err, outbox.ErrFull):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "full", err)
	default:
		refuse(w, http.StatusServiceUnavailable, "unavailable", err)
	}
}

// isLoopbackHost reports whether a Host header names this machine as such.
func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(trimBrackets(host))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func refuse(w http.ResponseWriter, status int, slug string, err error) {
	answer(w, status, "application/problem+json", client.Problem{
		Type: "urn:escortlog:problem:" + slug, Title: http.StatusText(status), Status: status, Detail: err.Error(),
	})
}

func answer(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the program that asked is gone, and its answer with it
}
