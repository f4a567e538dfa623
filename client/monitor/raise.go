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
	if f.Log != r.t.Origin || f.Status != Raised || r.own(f.Refs) {
		return nil
	}
	payload, err := r.event(f, at)
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

// event makes an event of a finding. Its id is made from the finding's id and
// when that came to be; the monitor found it at its time.
func (r *raiser) event(f *Finding, at *cursor) ([]byte, error) {
	sum, err := hex.DecodeString(f.ID)
	if err != nil || len(sum) < 10 {
		return nil, fmt.Errorf("%w: finding id %q", errState, f.ID)
	}
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
	switch kind, id, _ := strings.Cut(f.Subject, "/"); {
	case kind == "session" && id != "":
		data["session_id"] = id
	case kind == "change" && id != "":
		data["change_id"] = id
	}
	return event.Build(event.Attributes{
		ID: event.NewUUIDv7(f.At, [10]byte(sum)), Source: r.m.cfg.Source, Type: event.Prefix + "finding.raised.v1", Subject: "finding/" + f.ID,
		Time: f.Time, Sequence: at.Sequence + 1, PrevHash: at.PrevHash,
	}, data)
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
