package server

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Media types of the surface.
const (
	typeDSSE      = "application/vnd.dsse+json"
	typeDSSEBatch = "application/vnd.dsse-batch+json"
	typeEvent     = "application/cloudevents+json"
	typeBatch     = "application/cloudevents-batch+json"
	typeJSON      = "application/json"
	typeText      = "text/plain"
	typeLeaf      = "application/octet-stream"
)

// mediaType returns the media type of the body in lower case, without
// parameters. JSON is UTF-8 and nothing else, so another charset is another
// type.
func mediaType(r *http.Request) (string, *refusal) {
	values := r.Header.Values("Content-Type")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", refuse("unsupported-media-type", "There is more than one Content-Type.")
	}
	typ, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", refuse("unsupported-media-type", "Content-Type %q cannot be read.", values[0])
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return "", refuse("unsupported-media-type", "The charset is %q; only UTF-8 is taken.", charset)
	}
	return typ, nil
}

// negotiate returns the offer that the Accept header likes best, the first of
// them when it says nothing or likes none: an answer in another form serves the
// client better than a 406 (RFC 9110 section 12.4.1).
func negotiate(r *http.Request, offers ...string) string {
	ranges := parseWeighted(r.Header.Values("Accept"))
	best, bestQ := offers[0], 0.0
	for _, offer := range offers {
		if q := weightOf(ranges, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}

// weightOf returns the weight of the most specific range that matches offer
// (RFC 9110 section 12.5.1).
func weightOf(ranges []weighted, offer string) float64 {
	major, _, _ := strings.Cut(offer, "/")
	q, precision := 0.0, -1
	for _, w := range ranges {
		p := -1
		switch w.value {
		case offer:
			p = 2
		case major + "/*":
			p = 1
		case "*/*":
			p = 0
		}
		if p > precision {
			q, precision = w.q, p
		}
	}
	return q
}

// acceptsGzip reports whether the client takes gzip. One that says nothing is
// not assumed to (RFC 9110 section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	values := r.Header["Accept-Encoding"]
	if len(values) == 1 && values[0] == "gzip" { // what Go's own client sends
		return true
	}
	any := false
	for _, w := range parseWeighted(values) {
		switch w.value {
		case "gzip", "x-gzip":
			return w.q > 0
		case "*":
			any = w.q > 0
		}
	}
	return any
}

// weighted is one element of an Accept or Accept-Encoding list.
type weighted struct {
	value string // lower case, without parameters
	q     float64
}

func parseWeighted(headers []string) []weighted {
	var list []weighted
	for _, h := range headers {
		for element := range strings.SplitSeq(h, ",") {
			value, params, _ := strings.Cut(element, ";")
			w := weighted{value: strings.ToLower(strings.TrimSpace(value)), q: 1}
			for param := range strings.SplitSeq(params, ";") {
				name, v, _ := strings.Cut(strings.TrimSpace(param), "=")
				if strings.EqualFold(strings.TrimSpace(name), "q") {
					q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
					if err != nil || !(q >= 0 && q <= 1) {
						q = 0
					}
					w.q = q
				}
			}
			if w.value != "" {
				list = append(list, w)
			}
		}
	}
	return list
}

// preference is how long a submitter wants to wait for a proof.
type preference struct {
	wait         time.Duration
	respondAsync bool
	waitGiven    bool
}

// parsePrefer reads respond-async and wait (RFC 7240 sections 4.1 and 4.3). Of
// a preference given twice the first counts; what cannot be read is ignored,
// as section 2 asks.
func parsePrefer(r *http.Request, limits Limits) preference {
	p := preference{wait: limits.Wait}
	for _, h := range r.Header.Values("Prefer") {
		for element := range strings.SplitSeq(h, ",") {
			preference, _, _ := strings.Cut(element, ";")
			name, value, _ := strings.Cut(preference, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.respondAsync = true
			case "wait":
				seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
				if err == nil && !p.waitGiven {
					p.wait, p.waitGiven = min(time.Duration(seconds)*time.Second, limits.MaxWait), true
				}
			}
		}
	}
	if p.respondAsync && !p.waitGiven {
		p.wait = 0
	}
	return p
}

// async reports whether to answer as soon as the event is durable.
// "respond-async, wait=10" is: wait for ten seconds, and only then go on
// asynchronously (RFC 7240 section 4.3).
func (p preference) async() bool { return p.respondAsync && p.wait == 0 }

// setApplied says which preferences an answer honours (RFC 7240 section 3): one
// that carries a proof is not asynchronous.
func (p preference) setApplied(h http.Header, proven bool) {
	var applied []string
	if p.respondAsync && !proven {
		applied = append(applied, "respond-async")
	}
	if p.waitGiven {
		applied = append(applied, "wait="+strconv.FormatInt(int64(p.wait/time.Second), 10))
	}
	if applied != nil {
		h.Set("Preference-Applied", strings.Join(applied, ", "))
	}
}
