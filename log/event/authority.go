package event

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// MaxThreshold bounds how many administrators must sign: with one more
	// signature, a new administrator's own, that is all an entry can hold.
	MaxThreshold = 7

	// MaxAdministrators bounds how many there are: the most whose majority is
	// MaxThreshold.
	MaxAdministrators = 13
)

// Reasons for revoking a key.
const (
	Compromised = "compromised" // somebody else held it, since Revocation.Since
	Superseded  = "superseded"  // another key took its place
	Ceased      = "ceased"      // what it was for has ended
	Lost        = "lost"        // nobody holds it
)

// LogSource returns the source of authority events of the log with this
// origin. No key can be registered for it.
func LogSource(origin string) string { return "urn:escortlog:log:" + origin }

// CheckOrigin returns an error when no log can have this origin: it must be
// 1 to 255 characters that a URI may contain, but no "+", since it is also the
// name of the log's keys (https://c2sp.org/signed-note).
func CheckOrigin(origin string) error {
	if origin == "" || len(origin) > 255 || strings.Contains(origin, "+") || !isAbsoluteURI(LogSource(origin)) {
		return fmt.Errorf("event: %q cannot be the origin of a log: use 1 to 255 URI characters without +, such as log.example.com/escort", origin)
	}
	return nil
}

// Majority returns the default threshold for n administrators: more than half.
func Majority(n int) int { return n/2 + 1 }

// Administrator is one of those who together decide who may sign.
type Administrator struct {
	Name string // who that is, for people; may be empty
	Key  *PublicKey
}

// Predecessor is a dead log that a new one succeeds.
type Predecessor struct {
	Origin     string
	Size       int64
	Root       tlog.Hash
	Checkpoint string // the last cosigned checkpoint, the whole note
}

// Genesis is the content of leaf 0.
type Genesis struct {
	Origin         string
	Administrators []Administrator
	Threshold      int  // 0: a majority
	AllowUnsigned  bool // events of sources without a key may be unsigned
	AllowOpaque    bool // events of unknown types are accepted
	Trial          bool // the operator holds an administrator's key
	Predecessor    *Predecessor
}

// Header is what every authority event after leaf 0 bears.
type Header struct {
	ID     string    // a UUIDv7 or ULID
	Time   time.Time // now
	Origin string    // of the log
	Prev   tlog.Hash // leaf hash of the authority event before; Directory.Prev
}

// KeyRegistration lets a key sign for a source. Registering a key for a source
// it is registered for already replaces what it may sign there.
type KeyRegistration struct {
	Key         *PublicKey
	Source      string   // exact URI
	Types       []string // full names; empty: every type that needs no name
	PersonRef   string   // whose personal key it is; empty: a service's
	Description string   // for people; may be empty
}

// Revocation ends the use of a key, for ever.
type Revocation struct {
	KeyID  string
	Reason string    // Compromised, Superseded, Ceased or Lost
	Since  time.Time // for Compromised: from when on its signatures prove nothing
	Note   string    // for people; may be empty
}

// SourceRegistration declares what a source will send.
type SourceRegistration struct {
	Source           string   // exact URI
	Roles            []string // roles it may act in; empty: any. See RoleBroker and the others
	ExpectedTypes    []string // types an auditor should see from it; full names
	HeartbeatSeconds int64    // it sends source.heartbeat at least this often; 0: none is expected
	Description      string   // for people; may be empty
}

// SourceRetirement ends a source: its events are refused from then on.
type SourceRetirement struct {
	Source       string
	Reason       string // for people
	LastSequence int64  // the last sequence of the source; 0: it did not number its events
}

// The JSON forms of data. Their schemas are the specification.
type (
	adminJSON struct {
		Name  string `json:"name,omitempty"`
		KeyID string `json:"keyid"`
		SPKI  string `json:"spki"`
	}
	chainJSON struct {
		Log  string `json:"log"`
		Prev string `json:"prev,omitempty"`
	}
	predecessorJSON struct {
		Origin     string `json:"origin"`
		Size       int64  `json:"size"`
		Root       string `json:"root"`
		Checkpoint string `json:"checkpoint"`
	}
	logCreatedJSON struct {
		chainJSON
		Administrators []adminJSON      `json:"administrators"`
		Threshold      int              `json:"threshold"`
		AllowUnsigned  bool             `json:"allow_unsigned"`
		AllowOpaque    bool             `json:"allow_opaque"`
		Trial          bool             `json:"trial"`
		Predecessor    *predecessorJSON `json:"predecessor,omitempty"`
	}
	adminsChangedJSON struct {
		chainJSON
		Administrators []adminJSON `json:"administrators"`
		Threshold      int         `json:"threshold"`
	}
	keyRegisteredJSON struct {
		chainJSON
		KeyID       string   `json:"keyid"`
		SPKI        string   `json:"spki"`
		Source      string   `json:"source"`
		Types       []string `json:"types,omitempty"`
		PersonRef   string   `json:"person_ref,omitempty"`
		Description string   `json:"description,omitempty"`
	}
	keyRevokedJSON struct {
		chainJSON
		KeyID  string `json:"keyid"`
		Reason string `json:"reason"`
		Since  string `json:"since,omitempty"`
		Note   string `json:"note,omitempty"`
	}
	sourceRegisteredJSON struct {
		chainJSON
		Source           string   `json:"source"`
		Roles            []string `json:"roles,omitempty"`
		ExpectedTypes    []string `json:"expected_types"`
		HeartbeatSeconds *int64   `json:"heartbeat_s"`
		Description      string   `json:"description,omitempty"`
	}
	sourceRetiredJSON struct {
		chainJSON
		Source       string `json:"source"`
		Reason       string `json:"reason"`
		LastSequence string `json:"last_sequence,omitempty"`
	}
)

// NewLogCreated returns the payload of leaf 0, which is not signed. It has
// passed everything that [Directory.Apply] checks at index 0.
func NewLogCreated(id string, at time.Time, g Genesis) ([]byte, error) {
	if err := CheckOrigin(g.Origin); err != nil {
		return nil, err
	}
	if g.Threshold == 0 {
		g.Threshold = Majority(len(g.Administrators))
	}
	d := logCreatedJSON{
		chainJSON: chainJSON{Log: g.Origin}, Administrators: adminsJSON(g.Administrators), Threshold: g.Threshold,
		AllowUnsigned: g.AllowUnsigned, AllowOpaque: g.AllowOpaque, Trial: g.Trial,
	}
	if p := g.Predecessor; p != nil {
		d.Predecessor = &predecessorJSON{Origin: p.Origin, Size: p.Size, Root: hex.EncodeToString(p.Root[:]), Checkpoint: p.Checkpoint}
	}
	payload, err := buildAuthority(Header{ID: id, Time: at, Origin: g.Origin}, TypeLogCreated, "log/"+g.Origin, d)
	if err != nil {
		return nil, err
	}
	ev, err := Parse(payload)
	if err != nil {
		return nil, err
	}
	if _, err := parseGenesis(ev); err != nil {
		return nil, err
	}
	return payload, nil
}

// NewAdminsChanged returns the payload that replaces the administrators by
// these. It must be signed by the threshold of the old ones and by each key
// that is not an administrator's yet. A threshold of 0 is a majority.
func NewAdminsChanged(h Header, administrators []Administrator, threshold int) ([]byte, error) {
	if threshold == 0 {
		threshold = Majority(len(administrators))
	}
	return buildAuthority(h, TypeAdminsChanged, "log/"+h.Origin,
		adminsChangedJSON{h.chain(), adminsJSON(administrators), threshold})
}

// NewKeyRegistered returns the payload that registers a key; the threshold of
// administrators must sign it. The key itself may sign too, which proves that
// its holder has it and is recorded as Key.Proven.
func NewKeyRegistered(h Header, r KeyRegistration) ([]byte, error) {
	return buildAuthority(h, TypeKeyRegistered, "key/"+r.Key.KeyID(), keyRegisteredJSON{
		h.chain(), r.Key.KeyID(), r.Key.SPKIBase64(), r.Source, r.Types, r.PersonRef, r.Description})
}

// NewKeyRevoked returns the payload that revokes a key; one administrator must
// sign it (for an administrator's key: itself, or the threshold).
func NewKeyRevoked(h Header, r Revocation) ([]byte, error) {
	d := keyRevokedJSON{chainJSON: h.chain(), KeyID: r.KeyID, Reason: r.Reason, Note: r.Note}
	if !r.Since.IsZero() {
		d.Since = formatTime(r.Since)
	}
	return buildAuthority(h, TypeKeyRevoked, "key/"+r.KeyID, d)
}

// NewSourceRegistered returns the payload that registers a source, or changes
// what is declared of it; the threshold of administrators must sign it.
func NewSourceRegistered(h Header, r SourceRegistration) ([]byte, error) {
	d := sourceRegisteredJSON{chainJSON: h.chain(), Source: r.Source, Roles: r.Roles, ExpectedTypes: r.ExpectedTypes, Description: r.Description}
	if d.ExpectedTypes == nil {
		d.ExpectedTypes = []string{}
	}
	if r.HeartbeatSeconds != 0 {
		d.HeartbeatSeconds = &r.HeartbeatSeconds
	}
	return buildAuthority(h, TypeSourceRegistered, "source/"+r.Source, d)
}

// NewSourceRetired returns the payload that retires a source; the threshold of
// administrators must sign it.
func NewSourceRetired(h Header, r SourceRetirement) ([]byte, error) {
	d := sourceRetiredJSON{chainJSON: h.chain(), Source: r.Source, Reason: r.Reason}
	if r.LastSequence != 0 {
		d.LastSequence = fmt.Sprintf("%020d", r.LastSequence)
	}
	return buildAuthority(h, TypeSourceRetired, "source/"+r.Source, d)
}

func (h Header) chain() chainJSON {
	return chainJSON{Log: h.Origin, Prev: hex.EncodeToString(h.Prev[:])}
}

func adminsJSON(administrators []Administrator) []adminJSON {
	list := []adminJSON{}
	for _, a := range administrators {
		list = append(list, adminJSON{Name: a.Name, KeyID: a.Key.KeyID(), SPKI: a.Key.SPKIBase64()})
	}
	return list
}

// buildAuthority builds and validates, so that administrators never sign what
// the log would refuse for its form.
func buildAuthority(h Header, typ, subject string, data any) ([]byte, error) {
	payload, err := Build(Attributes{ID: h.ID, Source: LogSource(h.Origin), Type: typ, Subject: subject, Time: h.Time}, data)
	if err != nil {
		return nil, err
	}
	ev, err := Parse(payload)
	if err != nil {
		return nil, err
	}
	return payload, Validate(ev, false)
}

// decode reads data that its schema has accepted.
func decode[T any](ev *Event) (*T, error) {
	d := json.NewDecoder(bytes.NewReader(ev.Data))
	d.DisallowUnknownFields()
	v := new(T)
	if err := d.Decode(v); err != nil {
		return nil, invalid(SlugSchema, "/data", "%v", err)
	}
	return v, nil
}

// parseGenesis checks and decodes log.created.
func parseGenesis(ev *Event) (*Genesis, error) {
	if err := Validate(ev, false); err != nil {
		return nil, err
	}
	d, err := decode[logCreatedJSON](ev)
	if err != nil {
		return nil, err
	}
	if err := CheckOrigin(d.Log); err != nil {
		return nil, invalid(SlugSchema, "/data/log", "%v", err)
	}
	if ev.Source != LogSource(d.Log) {
		return nil, forbidden(SlugWrongSource, "the source of log.created must be %s", LogSource(d.Log))
	}
	admins, err := parseAdmins(d.Administrators, d.Threshold)
	if err != nil {
		return nil, err
	}
	g := &Genesis{
		Origin: d.Log, Administrators: admins, Threshold: d.Threshold,
		AllowUnsigned: d.AllowUnsigned, AllowOpaque: d.AllowOpaque, Trial: d.Trial,
	}
	if p := d.Predecessor; p != nil {
		g.Predecessor = &Predecessor{Origin: p.Origin, Size: p.Size, Checkpoint: p.Checkpoint}
		root, _ := hex.DecodeString(p.Root) // the schema asks for 64 hex digits
		copy(g.Predecessor.Root[:], root)
		text := fmt.Sprintf("%s\n%d\n%s\n", p.Origin, p.Size, base64.StdEncoding.EncodeToString(root))
		if len(p.Checkpoint) < len(text) || p.Checkpoint[:len(text)] != text {
			return nil, invalid(SlugSchema, "/data/predecessor/checkpoint", "the checkpoint is not one of this origin, size and root")
		}
	}
	return g, nil
}

// parseAdmins checks a list of administrators and its threshold, which the
// schema has bounded.
func parseAdmins(list []adminJSON, threshold int) ([]Administrator, error) {
	if threshold > len(list) {
		return nil, invalid(SlugSchema, "/data/threshold", "a threshold of %d can never be met by %d administrators", threshold, len(list))
	}
	var admins []Administrator
	seen := map[string]bool{}
	for i, a := range list {
		pointer := fmt.Sprintf("/data/administrators/%d", i)
		key, err := parseKey(pointer, a.SPKI, a.KeyID)
		if err != nil {
			return nil, err
		}
		if seen[a.KeyID] {
			return nil, invalid(SlugSchema, pointer+"/keyid", "the key %s stands here twice: one key is one administrator", a.KeyID)
		}
		seen[a.KeyID] = true
		admins = append(admins, Administrator{Name: a.Name, Key: key})
	}
	return admins, nil
}

// parseKey decodes spki and compares keyid, which is there for readers.
func parseKey(pointer, spki, keyID string) (*PublicKey, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(spki)
	if err != nil || base64.StdEncoding.EncodeToString(der) != spki {
		return nil, invalid(SlugSchema, pointer+"/spki", "spki is not standard padded base64")
	}
	key, err := ParsePublicKeySPKI(der)
	if err != nil {
		return nil, invalid(SlugSchema, pointer+"/spki", "%v", err)
	}
	if key.KeyID() != keyID {
		return nil, invalid(SlugSchema, pointer+"/keyid", "the keyid of this spki is %s", key.KeyID())
	}
	return key, nil
}
