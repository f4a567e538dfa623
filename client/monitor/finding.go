package monitor

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/escortlog/escortlog/client/rules"
	"golang.org/x/mod/sumdb/tlog"
)

// Kinds of findings. The first two say that the log broke its promise.
const (
	KindIntegrity = "integrity"  // the log is not what it signed, or signed two histories
	KindSplitView = "split-view" // a witness holds a checkpoint that contradicts the log's
	KindAudit     = "audit"      // proven, but worrying: see audit.Finding
	KindRule      = "rule"       // a rule found something

	// Conditions: raised when they begin, cleared when they end.
	KindUnavailable  = "unavailable"         // the log could not be read
	KindQuorum       = "quorum"              // the checkpoint lacks cosignatures
	KindStale        = "stale"               // the newest cosignature is too old
	KindUnheard      = "witness-unavailable" // a witness does not answer, or not with what it should
	KindWitnessStale = "witness-stale"       // a witness's newest cosignature is too old
	KindWitnessAhead = "witness-ahead"       // a witness holds a tree that the log does not show
	KindOmitted      = "rule-omitted"        // a rule found more than it lists
)

// Statuses of findings.
const (
	Raised  = "raised"
	Cleared = "cleared" // the condition named by Clears has ended
	Closed  = "closed"  // the finding of a rule named by Clears is no more, by what came into the log
)

// Head is a tree that a log signed.
type Head struct {
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
}

// Finding is one line of output. Its fields are stable.
type Finding struct {
	Version int    `json:"version"` // of this format: 1
	ID      string `json:"id"`      // 64 hex digits; the same finding has the same
	Status  string `json:"status"`
	Clears  string `json:"clears,omitempty"` // ID of the finding that has ended
	// Reason is why, where a finding is closed: its words; and Continued the ID of the
	// finding as which it goes on, if it does.
	Reason    string `json:"reason,omitempty"`
	Continued string `json:"continued,omitempty"`
	// RaisedAt is At of the finding that has ended.
	RaisedAt int64 `json:"raised_at,omitempty"`

	Kind     string `json:"kind"`
	Severity string `json:"severity"` // info, low, medium, high, critical
	Log      string `json:"log"`      // origin
	URL      string `json:"url"`      // where it was asked
	Witness  string `json:"witness,omitempty"`
	// Rule is the rule, the verdict of an audit or the kind of its finding.
	Rule        string      `json:"rule,omitempty"`
	Subject     string      `json:"subject,omitempty"` // such as "session/s-1"
	Summary     string      `json:"summary"`
	Refs        []rules.Ref `json:"refs"` // the leaves it rests on
	Population  int64       `json:"population"`
	Head        *Head       `json:"checkpoint"` // under which it was found; null where there is none
	RulesDigest string      `json:"rules_digest,omitempty"`
	Evidence    string      `json:"evidence,omitempty"` // file that proves it
	Time        time.Time   `json:"time"`               // by the monitor's clock
	// At is when it came to be, in ms since the epoch: the time in the newest
	// leaf that it rests on, or by the monitor's clock.
	At int64 `json:"at"`
}

// identify returns an id made from parts, each bound by its length.
func identify(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// condition names what can hold of something or not.
type condition struct{ kind, log, url, witness, rule string }

func (f *Finding) condition() (c condition, ok bool) {
	switch f.Kind {
	case KindUnavailable, KindQuorum, KindStale, KindUnheard, KindWitnessStale, KindWitnessAhead, KindOmitted:
		return condition{f.Kind, f.Log, f.URL, f.Witness, f.Rule}, true
	}
	return c, false
}

var severities = map[string]string{
	KindIntegrity: "critical", KindSplitView: "critical", KindAudit: "medium",
	KindUnavailable: "medium", KindQuorum: "high", KindStale: "high",
	KindUnheard: "low", KindWitnessStale: "low", KindWitnessAhead: "medium", KindOmitted: "low",
}
