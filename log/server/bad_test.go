package server

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// badInput is one row of the table: a request, and the answer it must get.
type badInput struct {
	name        string
	contentType string
	body        []byte
	headers     []string
	status      int
	slug        string
}

// TestBadInput sends every bad input there is a name for. Each gets its
// documented answer, and the tree does not grow by a leaf.
func TestBadInput(t *testing.T) {
	f := newFixture(t, setup{genesis: func(g *event.Genesis) { g.AllowUnsigned = true }})
	console, revoked := testKey("console"), testKey("revoked")
	f.register(console, testConsole, event.Prefix+"source.heartbeat.v1")
	f.register(revoked, testConsole)
	f.post(typeDSSE, f.revocation(f.header(), revoked)).want(http.StatusCreated)

	table := f.badInputs(console, revoked)
	if len(table) < 60 {
		t.Errorf("the table has %d rows", len(table))
	}
	seen := make(map[string]bool)
	for _, c := range table {
		if seen[c.name] {
			t.Errorf("two rows are named %q", c.name)
		}
		seen[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			f := *f // with the subtest's own t
			f.TB = t
			before := f.log.Head()
			a := f.post(c.contentType, c.body, c.headers...)
			a.wantProblem(c.status, c.slug)
			if c.status == http.StatusUnauthorized {
				a.wantHeader("WWW-Authenticate", "DSSE")
			}
			if after := f.log.Head(); after != before {
				t.Errorf("the head moved from %+v to %+v", before, after)
			}
		})
	}
	f.post(typeDSSE, f.signed()).want(http.StatusCreated)
}

func (f *fixture) badInputs(console, revoked crypto.Signer) []badInput {
	var table []badInput
	table = append(table, f.badBodies()...)
	table = append(table, f.badEnvelopes()...)
	table = append(table, f.badEvents()...)
	table = append(table, f.badSigners(console, revoked)...)
	table = append(table, f.badAuthority()...)
	table = append(table, f.badBatches()...)
	return append(table, f.badBinary()...)
}

// badBodies are wrong before they are read as anything.
func (f *fixture) badBodies() []badInput {
	envelope := f.signed()
	payload := f.payload(paused(testConsole), pausedData)
	return []badInput{
		{"no body", typeDSSE, nil, nil, 400, "malformed-envelope"},
		{"white space only", typeDSSE, []byte(" \n"), nil, 400, "malformed-envelope"},
		{"body larger than 128 KiB", typeDSSE, bytes.Repeat([]byte(" "), 128<<10+1), nil, 413, "too-large"},
		{"too large and of the wrong type", "text/plain", bytes.Repeat([]byte(" "), 128<<10+1), nil, 413, "too-large"},
		{"batch larger than 4 MiB", typeDSSEBatch, bytes.Repeat([]byte(" "), 4<<20+1), nil, 413, "too-large"},
		{"no media type", "", envelope, nil, 415, "unsupported-media-type"},
		{"JSON", "application/json", envelope, nil, 415, "unsupported-media-type"},
		{"plain text", "text/plain", envelope, nil, 415, "unsupported-media-type"},
		{"XML CloudEvent", "application/cloudevents+xml", payload, nil, 415, "unsupported-media-type"},
		{"CloudEvents media type of no kind", "application/cloudevents", payload, []string{"ce-specversion", "1.0"}, 415, "unsupported-media-type"},
		{"media type that cannot be read", "application/vnd.dsse+json; charset", envelope, nil, 415, "unsupported-media-type"},
		{"charset other than UTF-8", typeDSSE + "; charset=iso-8859-1", envelope, nil, 415, "unsupported-media-type"},
		{"compressed body", typeDSSE, envelope, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type"},
		{"compressed body behind another encoding", typeDSSE, envelope, []string{"Content-Encoding", "identity", "Content-Encoding", "gzip"}, 415, "unsupported-media-type"},
		{"two media types", typeDSSE, envelope, []string{"Content-Type", typeEvent}, 415, "unsupported-media-type"},
	}
}

// badEnvelopes are not envelopes.
func (f *fixture) badEnvelopes() []badInput {
	good := string(f.signed())
	var v struct {
		Payload    string `json:"payload"`
		Signatures []struct {
			KeyID string `json:"keyid"`
			Sig   string `json:"sig"`
		} `json:"signatures"`
	}
	f.must(json.Unmarshal([]byte(good), &v))
	sig := v.Signatures[0]
	one := fmt.Sprintf(`{"keyid":%q,"sig":%q}`, sig.KeyID, sig.Sig)
	many := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"keyid":"spki-sha256:%064d","sig":"AAAA"}`, i)
		}
		return strings.Join(list, ",")
	}
	replace := func(old, new string) []byte {
		if !strings.Contains(good, old) {
			f.Fatalf("%q is not in the envelope", old)
		}
		return []byte(strings.Replace(good, old, new, 1))
	}
	bad := func(name string, body []byte) badInput {
		return badInput{name, typeDSSE, body, nil, 400, "malformed-envelope"}
	}
	urlSafe := strings.NewReplacer("+", "-", "/", "_")
	rows := []badInput{
		bad("truncated envelope", []byte(good[:len(good)-1])),
		bad("trailing bytes", []byte(good+"{}")),
		bad("byte order mark", []byte("\xef\xbb\xbf"+good)),
		bad("UTF-16", []byte("{\x00\"\x00")),
		bad("array in place of an envelope", []byte("["+good+"]")),
		bad("null in place of an envelope", []byte("null")),
		bad("unknown member of the envelope", replace(`{"payloadType"`, `{"extra":1,"payloadType"`)),
		bad("repeated member of the envelope", replace(`{"payloadType"`, `{"payload":"e30=","payloadType"`)),
		bad("member of the envelope in another case", replace(`"payload":`, `"Payload":`)),
		bad("unknown member of a signature", replace(`{"keyid"`, `{"cert":"","keyid"`)),
		bad("no payload type", replace(`"payloadType":"application/cloudevents+json",`, "")),
		bad("another payload type", replace("application/cloudevents+json", "application/json")),
		bad("payload type in capitals", replace("application/cloudevents+json", "Application/CloudEvents+JSON")),
		bad("no payload", replace(fmt.Sprintf(`"payload":%q,`, v.Payload), "")),
		bad("empty payload", replace(v.Payload, "")),
		bad("payload a number", replace(`"`+v.Payload+`"`, "1")),
		bad("payload with a line break", replace(v.Payload, v.Payload[:4]+`\n`+v.Payload[4:])),
		bad("signature without padding", replace(sig.Sig, strings.TrimRight(sig.Sig, "="))),
		bad("signature with stray bits", replace(sig.Sig, strayBits(sig.Sig))),
		bad("signature empty", replace(sig.Sig, "")),
		bad("signatures an object", replace("["+one+"]", one)),
		bad("signature without keyid", replace(fmt.Sprintf(`"keyid":%q,`, sig.KeyID), "")),
		bad("keyid empty", replace(sig.KeyID, "")),
		bad("keyid of 256 bytes", replace(sig.KeyID, strings.Repeat("k", 256))),
		bad("one key twice", replace(one, one+","+one)),
		bad("nine signatures", replace(one, many(9))),
		bad("lone surrogate in the envelope", replace(sig.KeyID, `\ud800`)),
		bad("bad UTF-8 in the envelope", replace(sig.KeyID, "\xff")),
	}
	payload := f.payload(paused(testGateway), map[string]any{"session_id": "s-1", "reason": "???>>>~~~", "paused_by": nil})
	if b := f.envelope(payload, f.gateway); urlSafe.Replace(string(b)) != string(b) {
		rows = append(rows, bad("URL-safe base64", []byte(urlSafeMembers(string(b)))))
	}
	big := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{'x'}, entry.MaxPayload+1))
	bigSig := base64.StdEncoding.EncodeToString(make([]byte, 40000))
	return append(rows,
		badInput{"payload larger than 48 KiB", typeDSSE, replace(v.Payload, big), nil, 413, "event-too-large"},
		badInput{"leaf larger than 65,535 bytes", typeDSSE, bytes.Replace(f.bigEnvelope(), []byte(`"sig":"`), []byte(`"sig":"`+bigSig[:len(bigSig)-4]), 1), nil, 413, "event-too-large"},
	)
}

// bigEnvelope holds a payload close to the limit.
func (f *fixture) bigEnvelope() []byte {
	return f.envelope([]byte(`{"x":"`+strings.Repeat("x", 40000)+`"}`), f.gateway)
}

// strayBits sets bits of the last character that encode nothing.
func strayBits(s string) string {
	i := strings.IndexByte(s, '=') - 1
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])|1]) + s[i+1:]
}

// urlSafeMembers writes the base64 of payload and sig in the other alphabet.
func urlSafeMembers(envelope string) string {
	for _, member := range []string{`"payload":"`, `"sig":"`} {
		i := strings.Index(envelope, member) + len(member)
		j := i + strings.IndexByte(envelope[i:], '"')
		envelope = envelope[:i] + strings.NewReplacer("+", "-", "/", "_").Replace(envelope[i:j]) + envelope[j:]
	}
	return envelope
}

// badEvents are well signed envelopes around what is no event of this log.
func (f *fixture) badEvents() []badInput {
	good := string(f.payload(paused(testGateway), pausedData))
	edit := func(old, new string) []byte {
		if !strings.Contains(good, old) {
			f.Fatalf("%q is not in the payload", old)
		}
		// An id of its own, so that no row contradicts another.
		id := good[strings.Index(good, `"id":"`)+6:][:36]
		text := strings.Replace(good, old, new, 1)
		return f.envelope([]byte(strings.Replace(text, id, newID(), 1)), f.gateway)
	}
	at := func(ev event.Attributes) []byte { return f.envelope(f.payload(ev, pausedData), f.gateway) }
	future := paused(testGateway)
	future.Time = time.Now().Add(time.Hour)
	future.RecordedTime = time.Now()
	recorded := paused(testGateway)
	recorded.RecordedTime = time.Now().Add(time.Hour)
	id := good[strings.Index(good, `"id":"`):][:43]
	malformed := func(name string, body []byte) badInput {
		return badInput{name, typeDSSE, body, nil, 400, event.SlugMalformed}
	}
	invalid := func(name, slug string, body []byte) badInput {
		return badInput{name, typeDSSE, body, nil, 422, slug}
	}
	return []badInput{
		malformed("payload not JSON", f.envelope([]byte("not JSON"), f.gateway)),
		malformed("payload truncated", f.envelope([]byte(good[:len(good)-1]), f.gateway)),
		malformed("payload an array", f.envelope([]byte("[]"), f.gateway)),
		malformed("payload with trailing bytes", f.envelope([]byte(good+"x"), f.gateway)),
		malformed("payload with a byte order mark", f.envelope([]byte("\xef\xbb\xbf"+good), f.gateway)),
		malformed("payload with bad UTF-8", edit("lunch", "lun\xffch")),
		malformed("payload with a lone surrogate", edit("lunch", `\udc00`)),
		malformed("payload nested too deep", edit(`"lunch"`, strings.Repeat("[", 40)+strings.Repeat("]", 40))),
		malformed("attribute repeated", edit(id, id+`,"source":"https://other.example.org"`)),
		malformed("attribute repeated in another case", edit(id, id+`,"Source":"https://other.example.org"`)),
		malformed("member of data repeated", edit(`"reason":"lunch"`, `"reason":"lunch","reason":"dinner"`)),
		malformed("specversion 0.3", edit(`"specversion":"1.0"`, `"specversion":"0.3"`)),
		malformed("no specversion", edit(`"specversion":"1.0",`, "")),
		malformed("no id", edit(id+",", "")),
		malformed("id not a UUIDv7", edit(id, `"id":"42"`)),
		malformed("id a number", edit(id, `"id":42`)),
		malformed("source relative", edit(testGateway, "/gateway")),
		malformed("no source", edit(fmt.Sprintf(`"source":%q,`, testGateway), "")),
		malformed("no subject", edit(`"subject":"session/s-1",`, "")),
		malformed("no dataschema", edit(fmt.Sprintf(`"dataschema":%q,`, event.SchemaID(typePaused)), "")),
		malformed("time not RFC 3339", edit(`"time":"2`, `"time":"x2`)),
		malformed("time with an offset", f.envelope([]byte(strings.Replace(good, `Z","recordedtime"`, `+02:00","recordedtime"`, 1)), f.gateway)),
		malformed("datacontenttype XML", edit(`"datacontenttype":"application/json"`, `"datacontenttype":"text/xml"`)),
		malformed("binary data", edit(`"data":{`, `"data_base64":"AAAA","data":{`)),
		malformed("data a string", edit(good[strings.Index(good, `"data":{`):len(good)-1], `"data":"x"`)),
		malformed("attribute name with a dash", edit(id, id+`,"my-attribute":"x"`)),
		malformed("attribute an object", edit(id, id+`,"myattribute":{}`)),
		malformed("attribute a fraction", edit(id, id+`,"myattribute":1.5`)),
		malformed("sequence without zeros", edit(id, id+`,"sequence":"1"`)),
		malformed("prevhash without sequence", edit(id, id+`,"prevhash":"`+strings.Repeat("0", 64)+`"`)),
		malformed("number out of range", edit(`"paused_by":null`, `"paused_by":1e999`)),
		malformed("number of a thousand digits", edit(`"paused_by":null`, `"paused_by":`+strings.Repeat("9", 1000))),
		invalid("unknown type", event.SlugUnknownType, edit("session.paused.v1\",\"sub", "session.hummed.v1\",\"sub")),
		invalid("data without a required member", event.SlugSchema, edit(`"reason":"lunch",`, "")),
		invalid("data with an unknown member", event.SlugSchema, edit(`"reason":"lunch"`, `"reason":"lunch","mood":"good"`)),
		invalid("member of the wrong type", event.SlugSchema, edit(`"reason":"lunch"`, `"reason":7`)),
		invalid("dataschema of another type", event.SlugSchema, edit(event.SchemaID(typePaused), event.SchemaID("dev.escortlog.session.ended.v1"))),
		invalid("subject unlike the session", event.SlugSchema, edit("session/s-1", "session/s-2")),
		invalid("time an hour ahead", event.SlugFuture, at(future)),
		invalid("recordedtime an hour ahead", event.SlugFuture, at(recorded)),
	}
}

// badSigners are events that their signers may not say.
func (f *fixture) badSigners(console, revoked crypto.Signer) []badInput {
	gateway := func() []byte { return f.payload(paused(testGateway), pausedData) }
	good := f.signed()
	v, err := entry.ParseEnvelope(good)
	f.must(err)
	spoil := func(change func(*entry.Envelope)) []byte {
		c := *v
		c.Signatures = append([]entry.Signature(nil), v.Signatures...)
		c.Signatures[0].Sig = bytes.Clone(c.Signatures[0].Sig)
		change(&c)
		return c.Marshal()
	}
	logged := paused(testGateway)
	loggedPayload := f.payload(logged, pausedData)
	f.post(typeDSSE, f.envelope(loggedPayload, f.gateway)).want(http.StatusCreated)
	replay := map[string]any{"session_id": "s-1", "reason": "changed", "paused_by": nil}
	enrolled := paused(testGateway)
	enrolled.Type, enrolled.Subject = event.Prefix+"person.enrolled.v1", "person/p-1"
	return []badInput{
		{"unregistered key", typeDSSE, f.envelope(gateway(), testKey("nobody")), nil, 401, event.SlugUnknownKey},
		{"unregistered key beside a good one", typeDSSE, f.envelope(gateway(), f.gateway, testKey("nobody")), nil, 401, event.SlugUnknownKey},
		{"keyid of no key at all", typeDSSE, spoil(func(v *entry.Envelope) { v.Signatures[0].KeyID = "gateway" }), nil, 401, event.SlugUnknownKey},
		{"signature of another payload", typeDSSE, spoil(func(v *entry.Envelope) { v.Payload = gateway() }), nil, 401, event.SlugBadSignature},
		{"signature with a flipped bit", typeDSSE, spoil(func(v *entry.Envelope) { v.Signatures[0].Sig[10] ^= 1 }), nil, 401, event.SlugBadSignature},
		{"signature too short", typeDSSE, spoil(func(v *entry.Envelope) { v.Signatures[0].Sig = v.Signatures[0].Sig[:63] }), nil, 401, event.SlugBadSignature},
		{"signature over the payload alone", typeDSSE, spoil(func(v *entry.Envelope) { v.Signatures[0].Sig = f.rawSignature(v.Payload) }), nil, 401, event.SlugBadSignature},
		{"second signature wrong", typeDSSE, f.secondWrong(gateway(), console), nil, 401, event.SlugBadSignature},
		{"retry with a wrong signature", typeDSSE, spoil(func(v *entry.Envelope) { v.Payload = loggedPayload }), nil, 401, event.SlugBadSignature},
		{"replay with changed bytes and a wrong signature", typeDSSE, spoil(func(v *entry.Envelope) { v.Payload = f.payload(logged, replay) }), nil, 401, event.SlugBadSignature},
		{"unsigned event of a source with a key", typeEvent, gateway(), nil, 401, event.SlugUnsigned},
		{"envelope without signatures of a source with a key", typeDSSE, f.envelope(gateway()), nil, 401, event.SlugUnsigned},
		{"unsigned event of a type that needs a signature", typeEvent, f.unsignedPerson(), nil, 401, event.SlugUnsigned},
		{"replay with changed bytes", typeDSSE, f.envelope(f.payload(logged, replay), f.gateway), nil, 409, "identity-conflict"},
		{"replay with another signer added", typeDSSE, f.envelope(loggedPayload, f.gateway, console), nil, 409, "identity-conflict"},
		{"revoked key", typeDSSE, f.envelope(f.payload(paused(testConsole), pausedData), revoked), nil, 403, event.SlugKeyRevoked},
		{"revoked key beside a good one", typeDSSE, f.envelope(gateway(), f.gateway, revoked), nil, 403, event.SlugKeyRevoked},
		{"wrong source for the key", typeDSSE, f.envelope(f.payload(paused(testConsole), pausedData), f.gateway), nil, 403, event.SlugWrongSource},
		{"source that nobody registered", typeDSSE, f.envelope(f.payload(paused("https://nobody.example.org"), pausedData), f.gateway), nil, 403, event.SlugNotRegistered},
		{"type the key was not registered for", typeDSSE, f.envelope(f.payload(paused(testConsole), pausedData), console), nil, 403, event.SlugTypeNotAllowed},
		{"type that a key must name", typeDSSE, f.envelope(f.payload(enrolled, map[string]any{}), f.gateway), nil, 403, event.SlugTypeNotAllowed},
		{"administrator's key on an ordinary event", typeDSSE, f.envelope(gateway(), f.gateway, f.admin), nil, 403, event.SlugAdminKey},
	}
}

func (f *fixture) rawSignature(payload []byte) []byte {
	sig, err := f.gateway.Sign(nil, payload, crypto.Hash(0))
	f.must(err)
	return sig
}

// secondWrong is signed well by the gateway and badly by the other key.
func (f *fixture) secondWrong(payload []byte, other crypto.Signer) []byte {
	v, err := entry.ParseEnvelope(f.envelope(payload, f.gateway, other))
	f.must(err)
	v.Signatures[1].Sig[0] ^= 1
	return v.Marshal()
}

func (f *fixture) unsignedPerson() []byte {
	a := paused("https://registry.example.org")
	a.Type, a.Subject = event.Prefix+"person.enrolled.v1", "person/p-1"
	return f.payload(a, map[string]any{})
}

// badAuthority are authority events that change nothing.
func (f *fixture) badAuthority() []badInput {
	stale, elsewhere := f.header(), f.header()
	stale.Prev[0] ^= 1
	elsewhere.Origin = "other.example.org"
	newcomer := testKey("newcomer")
	forged := func(h event.Header, signers ...crypto.Signer) []byte {
		p, err := event.NewKeyRegistered(h, event.KeyRegistration{Key: publicKey(f, newcomer), Source: testConsole})
		f.must(err)
		return f.envelope(p, signers...)
	}
	return []badInput{
		{"authority event built on an old one", typeDSSE, f.registration(stale, newcomer, testConsole), nil, 409, event.SlugStaleAuthority},
		{"authority event of another log", typeDSSE, f.registration(elsewhere, newcomer, testConsole), nil, 403, event.SlugWrongLog},
		{"authority event signed by a source", typeDSSE, forged(f.header(), f.gateway), nil, 403, event.SlugNotAdmin},
		{"authority event signed by the key it brings alone", typeDSSE, forged(f.header(), newcomer), nil, 403, event.SlugNotAdmin},
		{"authority event unsigned", typeDSSE, forged(f.header()), nil, 401, event.SlugUnsigned},
		{"second log.created", typeDSSE, f.secondGenesis(), nil, 403, event.SlugReservedType},
	}
}

func (f *fixture) secondGenesis() []byte {
	p, err := event.NewLogCreated(newID(), time.Now(), event.Genesis{
		Origin: testOrigin, Administrators: []event.Administrator{{Key: publicKey(f, testKey("usurper"))}},
	})
	f.must(err)
	return f.envelope(p, f.admin)
}

// badBatches break as a whole.
func (f *fixture) badBatches() []badInput {
	good := f.signed()
	many := make([][]byte, 257)
	for i := range many {
		many[i] = []byte("{}")
	}
	return []badInput{
		{"batch that is no array", typeDSSEBatch, good, nil, 400, "malformed-request"},
		{"batch truncated", typeDSSEBatch, []byte("[" + string(good)), nil, 400, "malformed-request"},
		{"batch with a stray comma", typeDSSEBatch, []byte("[" + string(good) + ",]"), nil, 400, "malformed-request"},
		{"batch with trailing bytes", typeDSSEBatch, []byte("[" + string(good) + "] x"), nil, 400, "malformed-request"},
		{"batch with a second array", typeDSSEBatch, []byte("[" + string(good) + "][]"), nil, 400, "malformed-request"},
		{"batch broken behind a good event", typeDSSEBatch, []byte("[" + string(good) + ",{]"), nil, 400, "malformed-request"},
		{"batch empty", typeDSSEBatch, nil, nil, 400, "malformed-request"},
		{"batch null", typeBatch, []byte("null"), nil, 400, "malformed-request"},
		{"batch of 257 events", typeDSSEBatch, batch(many...), nil, 413, "too-many-events"},
		{"batch with a byte order mark", typeBatch, []byte("\xef\xbb\xbf[]"), nil, 400, "malformed-request"},
		{"batch with bad UTF-8", typeBatch, []byte("[\"\xff\"]"), nil, 400, "malformed-request"},
	}
}

// badBinary are CloudEvents in binary mode that make no event.
func (f *fixture) badBinary() []badInput {
	now := time.Now().UTC().Format(time.RFC3339)
	data := []byte(`{"session_id":"s-1","reason":"l","paused_by":null}`)
	headers := func(change ...string) []string {
		all := []string{
			"ce-specversion", "1.0", "ce-id", newID(), "ce-source", "https://unkeyed.example.org", "ce-type", typePaused,
			"ce-subject", "session/s-1", "ce-time", now, "ce-recordedtime", now, "ce-dataschema", event.SchemaID(typePaused),
		}
		for i := 0; i < len(change); i += 2 {
			for j := 0; j < len(all); j += 2 {
				if all[j] == change[i] {
					all = append(all[:j], all[j+2:]...)
					break
				}
			}
			if change[i+1] != "" {
				all = append(all, change[i], change[i+1])
			}
		}
		return all
	}
	return []badInput{
		{"binary mode without an id", typeJSON, data, headers("ce-id", ""), 400, event.SlugMalformed},
		{"binary mode without data", typeJSON, nil, headers(), 400, event.SlugMalformed},
		{"binary mode with data not JSON", typeJSON, []byte("<x/>"), headers(), 400, event.SlugMalformed},
		{"binary mode with members smuggled in", typeJSON, []byte(`{},"id":"x"`), headers(), 400, event.SlugMalformed},
		{"binary mode with XML", "text/xml", []byte("<x/>"), headers(), 400, event.SlugMalformed},
		{"binary mode with an attribute twice", typeJSON, data, append(headers(), "ce-subject", "session/s-2"), 400, "malformed-request"},
		{"binary mode with ce-datacontenttype", typeJSON, data, headers("ce-datacontenttype", "application/json"), 400, "malformed-request"},
		{"binary mode with bad percent-encoding", typeJSON, data, headers("ce-subject", "session/%zz"), 400, "malformed-request"},
		{"binary mode with percent-encoded bad UTF-8", typeJSON, data, headers("ce-subject", "session/%ff"), 400, event.SlugMalformed},
		{"binary mode with data_base64", typeJSON, data, headers("ce-data_base64", "AAAA"), 400, event.SlugMalformed},
		{"binary mode of a source with a key", typeJSON, data, headers("ce-source", testGateway), 401, event.SlugUnsigned},
		{"binary mode larger than a leaf", typeJSON, []byte(`{"session_id":"s-1","reason":"` + strings.Repeat("x", entry.MaxPayload) + `"}`), headers(), 413, "event-too-large"},
	}
}
