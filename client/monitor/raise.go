package monitor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/rules"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// maxSummary bounds the words of an event, in bytes: fewer than its schema's
// 4,096 characters.
const maxSummary = 4000

// raiser raises findings about a log into that log.
type raiser struct {
	m *Monitor
	t *Target
}

// deliver submits one finding as an event. What it sends depends on nothing but
// the finding and the cursor, so that after a crash the same bytes are sent, which
// no log takes twice.
func (r *raiser) deliver(ctx context.Context, f *Finding, _ []byte, at *cursor) error {
	if f.Log != r.t.Origin || f.Status == Cleared || r.own(f.Refs) {
		return nil
	}
	build := r.raised
	if f.Status == Closed {
		build = r.closed
	}
	payload, err := build(f, at)
	if err != nil {
		return fmt.Errorf("making an event of a finding: %w", err)
	}
	sig, err := event.Sign(r.m.cfg.Key, entry.PayloadType, payload)
	if err != nil {
		return fmt.Errorf("%w: signing a finding: %w", errUndelivered, err)
	}
	results, err := r.t.Submitter.Submit(ctx, &entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}})
	if err != nil {
		return fmt.Errorf("%w: raising a finding into the log: %w", errUndelivered, err)
	}
	var refused *client.RefusedError
	switch err := results[0].Err; {
	case err == nil:
		at.Sequence++
		at.PrevHash = event.PrevHash(payload)
		return nil
	case errors.As(err, &refused) && refused.Problem.Status == http.StatusConflict:
		// Raised by a monitor whose state is lost: the finding is in the log.
		r.m.cfg.Logger.WarnContext(ctx, "the log holds the finding already", "finding", f.ID)
		return nil
	default:
		// Such as that the key is not registered, which somebody must see to.
		return fmt.Errorf("%w: raising a finding into the log: %w", errUndelivered, err)
	}
}

// own reports whether a finding rests on nothing but events of this monitor.
func (r *raiser) own(refs []rules.Ref) bool {
	for _, ref := range refs {
		if ref.Source != r.m.cfg.Source {
			return false
		}
	}
	return len(refs) > 0
}

// raised makes the event that raises a finding.
func (r *raiser) raised(f *Finding, at *cursor) ([]byte, error) {
	refs := []map[string]any{}
	for _, ref := range f.Refs {
		if ref.Source != "" && ref.ID != "" {
			refs = append(refs, map[string]any{"source": ref.Source, "id": ref.ID, "index": ref.Index})
		}
	}
	data := map[string]any{
		"finding_id": f.ID, "rule_id": ruleOf(f), "severity": f.Severity, "refs": refs, "summary": clip(f.Summary), "population": f.Population, "checkpoint": nil,
	}
	if f.Head != nil {
		data["checkpoint"] = map[string]any{"origin": f.Log, "size": f.Head.Size, "root": hex.EncodeToString(f.Head.Root[:])}
	}
	if f.RulesDigest != "" {
		data["rules_digest"] = f.RulesDigest
	}
	return r.event("finding.raised", f, f.ID, data, at)
}

// closed makes the event that closes a finding, which the monitor raised. Where that
// goes on as another, the log holds the other too.
func (r *raiser) closed(f *Finding, at *cursor) ([]byte, error) {
	outcome := "resolved"
	if f.Continued != "" {
		outcome = "duplicate"
	}
	id, err := eventID(f.RaisedAt, f.Clears)
	if err != nil {
		return nil, err
	}
	return r.event("finding.closed", f, f.Clears, map[string]any{
		"finding_id": f.Clears, "outcome": outcome, "reason": clip(f.Reason),
		"closed_by": map[string]any{"ref": r.m.cfg.Source, "role": "monitor"},
		"raised":    map[string]any{"source": r.m.cfg.Source, "id": id},
	}, at)
}

// event makes an event about the finding of an id. Its own id is made from that of
// the line in the journal and when that came to be; the monitor found it at its time.
func (r *raiser) event(typ string, f *Finding, about string, data map[string]any, at *cursor) ([]byte, error) {
	id, err := eventID(f.At, f.ID)
	if err != nil {
		return nil, err
	}
	switch kind, id, _ := strings.Cut(f.Subject, "/"); {
	case kind == "session" && id != "":
		data["session_id"] = id
	case kind == "change" && id != "":
		data["change_id"] = id
	}
	return event.Build(event.Attributes{
		ID: id, Source: r.m.cfg.Source, Type: event.Prefix + typ + ".v1", Subject: "finding/" + about,
		Time: f.Time, Sequence: at.Sequence + 1, PrevHash: at.PrevHash,
	}, data)
}

// eventID is the id of the event about a finding of that id and At.
func eventID(at int64, id string) (string, error) {
	sum, err := hex.DecodeString(id)
	if err != nil || len(sum) < 10 {
		return "", fmt.Errorf("%w: finding id %q", errState, id)
	}
	return event.NewUUIDv7(at, [10]byte(sum)), nil
}

// ruleOf names what was broken: a rule, or the monitor's own kind.
func ruleOf(f *Finding) string {
	switch {
	case f.Kind == KindRule:
		return f.Rule
	case f.Rule != "":
		return f.Kind + ":" + f.Rule
	}
	return f.Kind
}

func clip(s string) string {
	if len(s) > maxSummary {
		s = s[:maxSummary]
	}
	return strings.ToValidUTF8(s, "")
}
