package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrQuorum: the cosignatures on a checkpoint do not meet the policy's quorum.
	ErrQuorum = errors.New("the policy's quorum of witnesses is not met")
	// ErrOrigin: a known log key signed, but the checkpoint's origin is not that key's name.
	ErrOrigin = errors.New("the checkpoint's origin is not the name of the key that signed it")
)

// Verified is a checkpoint that a log of the policy signed.
type Verified struct {
	Checkpoint
	Note         []byte        // the note it came in
	LogKeys      []*Verifier   // keys of the policy's log lines that signed it, in the policy's order
	Cosignatures []Cosignature // of the policy's witnesses, in the note's order
}

// Cosignature is a verified cosignature by a witness of a policy.
type Cosignature struct {
	Witness string // the policy's name for it
	Time    int64  // Unix seconds, as the witness states it
	Line    SignatureLine
}

// ExtensionsSigned reports whether a log's signature covers the checkpoint's
// extension lines. ML-DSA-44 cosignatures do not: where only such a one was
// verified, whoever passed the note on could have written the extension lines.
func (v *Verified) ExtensionsSigned() bool {
	return slices.ContainsFunc(v.LogKeys, func(k *Verifier) bool { return k.alg == AlgEd25519 })
}

// Verify checks a signed checkpoint: a key of one of the log lines has signed
// it, its origin is that key's name, every signature line of a key that the
// policy knows verifies, and the quorum is met.
//
// Errors: ErrMalformed, ErrUnsigned, ErrBadSignature, ErrOrigin, and ErrQuorum.
// With ErrQuorum, and only with it, the Verified is returned beside the error:
// the log did sign this checkpoint.
func (p *Policy) Verify(note []byte) (*Verified, error) {
	text, sigs, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	c, err := Parse(text)
	if err != nil {
		return nil, err
	}
	v := &Verified{Checkpoint: c, Note: bytes.Clone(note)}
	good, err := Verify(text, sigs, p.keys()...)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %q, size %d: %w", c.Origin, c.Size, err)
	}
	if v.LogKeys, err = p.logKeys(c.Origin, good); err != nil {
		return nil, fmt.Errorf("checkpoint of %q, size %d: %w", c.Origin, c.Size, err)
	}
	cosigned := map[string]bool{}
	for _, l := range good {
		for _, w := range p.Witnesses {
			if w.Key.claims(l.Name, l.KeyHash) {
				v.Cosignatures = append(v.Cosignatures, Cosignature{Witness: w.Name, Time: l.Timestamp(), Line: l})
				cosigned[w.Name] = true
			}
		}
	}
	if !p.QuorumMet(cosigned) {
		return v, fmt.Errorf("checkpoint of %q, size %d: %w: cosigned by %s; needed: %s", c.Origin, c.Size, ErrQuorum, list(cosigned), p.quorum)
	}
	return v, nil
}

// logKeys returns the log keys among the verified lines whose name is origin.
func (p *Policy) logKeys(origin string, good []SignatureLine) ([]*Verifier, error) {
	var keys []*Verifier
	var other *Verifier
	for _, l := range p.Logs {
		signed := slices.ContainsFunc(good, func(s SignatureLine) bool { return l.Key.claims(s.Name, s.KeyHash) })
		switch {
		case signed && l.Key.name == origin:
			keys = append(keys, l.Key)
		case signed:
			other = l.Key
		}
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case other != nil:
		return nil, fmt.Errorf("%w: signed by %s", ErrOrigin, other)
	}
	return nil, fmt.Errorf("%w of a log in the policy", ErrUnsigned)
}

// QuorumMet reports whether cosignatures by the witnesses whose policy names
// are true in cosigned meet the quorum.
func (p *Policy) QuorumMet(cosigned map[string]bool) bool {
	return p.quorum == nil || p.quorum.met(cosigned)
}

// NeedsWitnesses reports whether the quorum is anything but none.
func (p *Policy) NeedsWitnesses() bool { return p.quorum != nil }

func (n *node) met(cosigned map[string]bool) bool {
	if n.witness != nil {
		return cosigned[n.name]
	}
	met := 0
	for _, m := range n.members {
		if m.met(cosigned) {
			met++
		}
	}
	return met >= n.k
}

// String writes the quorum for people: 2 of (a, b, any 1 of (c, d)).
func (n *node) String() string {
	if n.witness != nil {
		return n.name
	}
	members := make([]string, len(n.members))
	for i, m := range n.members {
		members[i] = m.String()
	}
	return fmt.Sprintf("%d of (%s)", n.k, strings.Join(members, ", "))
}

// Quorum describes for people what the policy demands.
func (p *Policy) Quorum() string {
	if p.quorum == nil {
		return "none"
	}
	return p.quorum.String()
}

func list(set map[string]bool) string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none of the witnesses known"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Warnings returns what the policy permits and probably should not, in a fixed
// order: a threshold that two keys of one organisation (two witnesses with the
// same key name) can both help to reach, so that it stands in for another, and a
// threshold that the log itself can help to reach in the place of a witness.
// Keys that are all demanded take nobody's place and are not warned of.
func (p *Policy) Warnings() []string {
	if p.quorum == nil {
		return nil
	}
	var out []string
	p.quorum.walk(func(g *node) {
		for _, org := range g.organisations() {
			keys := g.keysOf(org)
			switch {
			case len(keys) == g.witnesses():
				// The whole group speaks for this organisation alone.
			case g.k > 1 && g.membersWith(org) > 1 && !g.demandsAll(org):
				out = append(out, fmt.Sprintf("group %s: the keys %s all belong to %q and can count %d times; join them in one \"any\" group",
					g.name, strings.Join(keys, ", "), org, g.membersWith(org)))
			case g.k < len(g.members) && p.isLog(org):
				out = append(out, fmt.Sprintf("group %s: the log's own key %s can count in the place of a witness; demand it in an \"all\" group instead",
					g.name, strings.Join(keys, ", ")))
			}
		}
	})
	return out
}

func (p *Policy) isLog(name string) bool {
	return slices.ContainsFunc(p.Logs, func(l PolicyLog) bool { return l.Key.name == name })
}

// walk visits the groups from n down.
func (n *node) walk(visit func(*node)) {
	if n.witness != nil {
		return
	}
	visit(n)
	for _, m := range n.members {
		m.walk(visit)
	}
}

// leaves visits the witnesses from n down.
func (n *node) leaves(visit func(*node)) {
	if n.witness != nil {
		visit(n)
	}
	for _, m := range n.members {
		m.leaves(visit)
	}
}

// organisations returns the distinct key names below n in their order.
func (n *node) organisations() (orgs []string) {
	seen := map[string]bool{}
	n.leaves(func(w *node) {
		if org := w.witness.name; !seen[org] {
			seen[org] = true
			orgs = append(orgs, org)
		}
	})
	return orgs
}

func (n *node) keysOf(org string) (names []string) {
	n.leaves(func(w *node) {
		if w.witness.name == org {
			names = append(names, w.name)
		}
	})
	return names
}

func (n *node) witnesses() (count int) {
	n.leaves(func(*node) { count++ })
	return count
}

// demandsAll reports whether n demands all its members, and each member that
// has a key of org demands one.
func (n *node) demandsAll(org string) bool {
	if n.k < len(n.members) {
		return false
	}
	return !slices.ContainsFunc(n.members, func(m *node) bool {
		return len(m.keysOf(org)) > 0 && !m.demands(org)
	})
}

// demands reports whether n is never met without a key of org.
func (n *node) demands(org string) bool {
	if n.witness != nil {
		return n.witness.name == org
	}
	without := 0
	for _, m := range n.members {
		if !m.demands(org) {
			without++
		}
	}
	return without < n.k
}

// membersWith counts the direct members of n below which org has a key.
func (n *node) membersWith(org string) (count int) {
	for _, m := range n.members {
		if len(m.keysOf(org)) > 0 {
			count++
		}
	}
	return count
}
