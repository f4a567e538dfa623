package server

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/go-json-experiment/json/jsontext"
)

// mode is how a body holds events.
type mode int

const (
	modeEnvelope      mode = iota // a DSSE envelope
	modeEnvelopeBatch             // an array of them
	modeEvent                     // a CloudEvent, structured
	modeEventBatch                // an array of them
	modeBinary                    // a CloudEvent, its attributes in the header
)

func (m mode) batch() bool { return m == modeEnvelopeBatch || m == modeEventBatch }

// modeOf returns the mode of a request. A request in none of them yields a
// refusal, which is due only after the size of its body has been judged.
func modeOf(r *http.Request) (mode, *refusal) {
	if enc := strings.Join(r.Header.Values("Content-Encoding"), ", "); enc != "" && !strings.EqualFold(enc, "identity") {
		return modeEnvelope, refuse("unsupported-media-type", "Content-Encoding %q is not taken; send the body as it is.", enc)
	}
	typ, err := mediaType(r)
	if err != nil {
		return modeEnvelope, err
	}
	switch typ {
	case typeDSSE:
		return modeEnvelope, nil
	case typeDSSEBatch:
		return modeEnvelopeBatch, nil
	case typeEvent:
		return modeEvent, nil
	case typeBatch:
		return modeEventBatch, nil
	}
	// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
	// section 3: a content type that does not begin with
	// application/cloudevents is binary mode.
	if !strings.HasPrefix(typ, "application/cloudevents") && r.Header.Get("Ce-Specversion") != "" {
		return modeBinary, nil
	}
	return modeEnvelope, refuse("unsupported-media-type",
		"Content-Type %q is not taken. Send %s, %s, or, where this log takes unsigned events, %s, %s or a CloudEvent in binary mode.",
		typ, typeDSSE, typeDSSEBatch, typeEvent, typeBatch)
}

// readBody reads a body of at most limit bytes. Memory follows what has
// arrived, not what Content-Length claims, and is accounted for: a client that
// claims much and sends little costs little. How long it may take is for the
// http.Server (Serve).
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, v *visit, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body := make([]byte, 0, min(max(r.ContentLength, 0)+1, 4096))
	if err := v.hold(int64(cap(body))); err != nil {
		return nil, err
	}
	for {
		if len(body) == cap(body) {
			grown := min(2*int64(cap(body)), limit+1)
			if r.ContentLength >= 0 {
				grown = min(grown, r.ContentLength+1)
			}
			if err := v.hold(grown - int64(cap(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if int64(len(body)) > limit {
			w.Header().Set("Connection", "close")
			return nil, tooLarge(limit)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.Header().Set("Connection", "close")
			return nil, refuse("timeout", "The body did not arrive within %v.", s.cfg.Limits.BodyTimeout)
		default:
			return nil, refuse("malformed-request", "The body broke off.").because(err)
		}
	}
}

func tooLarge(limit int64) *refusal {
	return refuse("too-large", "The body is larger than %d bytes.", limit)
}

// elements splits a JSON array into its elements, each as exactly the bytes it
// was written with. Only what breaks the array is an error here: a member
// repeated inside an element is the fault of that element, judged with it. The
// elements are parts of body.
func elements(body []byte, limit int) ([][]byte, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	malformed := func(err error) error {
		return refuse("malformed-request", "The body is not one JSON array: %v.", err)
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, malformed(err)
	}
	if token.Kind() != jsontext.KindBeginArray {
		return nil, refuse("malformed-request", "The body is JSON, but not an array.")
	}
	var list [][]byte
	for d.PeekKind() != jsontext.KindEndArray {
		value, err := d.ReadValue()
		if err != nil {
			return nil, malformed(err)
		}
		if len(list) < limit+1 {
			end := d.InputOffset()
			list = append(list, body[end-int64(len(value)):end:end])
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, malformed(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, refuse("malformed-request", "Something follows the JSON array.")
	}
	if len(list) > limit {
		return nil, refuse("too-many-events", "The batch holds more than %d events.", limit)
	}
	return list, nil
}

// candidates turns a body into the events to be judged. An error is about the
// request as a whole; what is wrong with one event of a batch is kept in it.
func (s *Server) candidates(r *http.Request, m mode, body []byte) ([]*candidate, error) {
	switch m {
	case modeEnvelopeBatch, modeEventBatch:
		list, err := elements(body, s.cfg.Limits.BatchEvents)
		if err != nil {
			return nil, err
		}
		candidates := make([]*candidate, len(list))
		for i, raw := range list {
			candidates[i] = &candidate{raw: raw, signed: m == modeEnvelopeBatch}
			if int64(len(raw)) > s.cfg.Limits.EventBytes {
				candidates[i].err = refuse("too-large", "The event is larger than %d bytes.", s.cfg.Limits.EventBytes)
			}
		}
		return candidates, nil
	case modeBinary:
		payload, err := binaryPayload(r.Header, body)
		if err != nil {
			return nil, err
		}
		return []*candidate{{raw: payload}}, nil
	default:
		return []*candidate{{raw: body, signed: m == modeEnvelope}}, nil
	}
}

// binaryPayload makes the structured JSON of a CloudEvent that came in binary
// mode: its attributes in the order of their names, then data.
func binaryPayload(header http.Header, body []byte) ([]byte, error) {
	attributes := make(map[string]string)
	for key, values := range header {
		name, ok := strings.CutPrefix(textproto.CanonicalMIMEHeaderKey(key), "Ce-")
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		if len(values) != 1 {
			return nil, refuse("malformed-request", "Attribute %q is given %d times.", name, len(values))
		}
		value, err := decodeHeader(values[0])
		if err != nil {
			return nil, refuse("malformed-request", "Header ce-%s is not percent-encoded UTF-8.", name)
		}
		attributes[name] = value
	}
	if _, ok := attributes["datacontenttype"]; ok {
		return nil, refuse("malformed-request", "In binary mode datacontenttype is the Content-Type, not a header ce-datacontenttype.")
	}
	if typ := header.Get("Content-Type"); typ != "" {
		// JSON is UTF-8 whether a library says so or not (modeOf has seen to
		// it), and a retry through another library is the same event.
		if media, params, err := mime.ParseMediaType(typ); err == nil && len(params) == 1 && params["charset"] != "" {
			typ = media
		}
		attributes["datacontenttype"] = typ
	}
	size := len(`{"data":}`) + len(body)
	for name, value := range attributes {
		size += len(`"":"",`) + len(name) + len(value)
	}
	if size > entry.MaxPayload {
		return nil, leafTooLarge()
	}
	return event.Canonical(attributes, body)
}

// decodeHeader undoes the encoding of attribute values in HTTP headers
// (CloudEvents HTTP Protocol Binding v1.0.2 section 3.1.3.2): an optional pair
// of double quotes with backslash escapes, then percent-encoding. What a header
// cannot hold plainly is percent-encoded, so a plus sign is a plus sign.
func decodeHeader(value string) (string, error) {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(value)-1; i++ {
			if value[i] == '\\' && i+1 < len(value)-1 {
				i++
			}
			b.WriteByte(value[i])
		}
		value = b.String()
	}
	return url.PathUnescape(value)
}
