package checkpoint

import (
	"bytes"
	"fmt"
	"strings"
)

// MaxPolicy is the longest policy file accepted, in bytes: room for some five
// hundred ML-DSA-44 keys.
const MaxPolicy = 1 << 20

// Policy is a parsed tlog-policy (https://c2sp.org/tlog-policy): which logs are
// accepted, which witnesses are known, and which sets of them suffice. A
// Policy is not changed after ParsePolicy and is safe for concurrent use.
type Policy struct {
	// Logs, any one of which suffices. A log with several keys has several lines.
	Logs []PolicyLog
	// Witnesses, whether or not the quorum needs them.
	Witnesses []PolicyWitness

	quorum *node // nil: quorum none
}

// PolicyLog is a log line.
type PolicyLog struct {
	Key *Verifier // its name is the log's origin
	URL string    // where the log is read and written; may be empty
}

// PolicyWitness is a witness line.
type PolicyWitness struct {
	Name string // within this policy
	Key  *Verifier
	URL  string // the witness's submission prefix; may be empty
}

// node is a witness or a group. Each node is a member of at most one group, so
// what hangs below the quorum is a tree in which a witness stands once.
type node struct {
	name    string
	witness *Verifier // nil for a group
	k       int       // how many members make the group a witness
	members []*node
}

// ParsePolicy reads a policy file strictly: only ASCII space and tab separate
// items, comments are whole lines, names are defined before they are used,
// there is exactly one quorum line, every name is a member of at most one
// group, thresholds are canonical decimals with 1 <= k <= n, and no public key
// is listed twice among the logs or twice among the witnesses. Log keys are
// Ed25519 (type 0x01) or ML-DSA-44 (0x06), witness keys Ed25519 cosignature
// (0x04) or ML-DSA-44 (0x06). The error is ErrMalformed and names the line.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > MaxPolicy {
		return nil, fmt.Errorf("%w policy: longer than %d bytes", ErrMalformed, MaxPolicy)
	}
	// "each line is terminated by ASCII newline": a file cut off within its
	// last line must not pass as another policy.
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("%w policy: the last line does not end with a newline", ErrMalformed)
	}
	p := policyParser{policy: &Policy{}, nodes: map[string]*node{}, member: map[string]string{}}
	for i, line := range bytes.SplitAfter(b, []byte("\n")) {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%w policy: line %d: %w", ErrMalformed, i+1, err)
		}
	}
	if !p.quorum {
		return nil, fmt.Errorf("%w policy: no quorum line; write \"quorum none\" to demand no witness", ErrMalformed)
	}
	return p.policy, nil
}

type policyParser struct {
	policy *Policy
	nodes  map[string]*node
	member map[string]string // name to the group it is a member of
	quorum bool              // a quorum line was seen
}

func (p *policyParser) line(line []byte) error {
	for _, c := range line {
		// "the allowed octet values are 0x09 (tab), 0x0A (newline), 0x20-0x7E,
		// and 0x80-0xFF."
		if c != '\t' && c != '\n' && (c < 0x20 || c == 0x7f) {
			return fmt.Errorf("byte 0x%02x is not allowed", c)
		}
	}
	items := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	if len(items) == 0 || items[0][0] == '#' {
		return nil
	}
	switch keyword, args := items[0], items[1:]; keyword {
	case "log":
		return p.log(args)
	case "witness":
		return p.witness(args)
	case "group":
		return p.group(args)
	case "quorum":
		return p.setQuorum(args)
	default:
		return fmt.Errorf("%q is not log, witness, group or quorum", shorten(keyword))
	}
}

func (p *policyParser) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("want: log VKEY [URL]; comments need a line of their own")
	}
	key, err := p.key(args[0], AlgEd25519)
	if err != nil {
		return err
	}
	for _, l := range p.policy.Logs {
		if bytes.Equal(l.Key.key, key.key) {
			return fmt.Errorf("the public key of log %s is already that of log %s", key, l.Key)
		}
	}
	url, err := policyURL(args[1:])
	if err != nil {
		return err
	}
	p.policy.Logs = append(p.policy.Logs, PolicyLog{Key: key, URL: url})
	return nil
}

func (p *policyParser) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("want: witness NAME VKEY [URL]; comments need a line of their own")
	}
	key, err := p.key(args[1], AlgCosignEd25519)
	if err != nil {
		return err
	}
	// "Two vkeys are considered duplicate if they wrap the same underlying
	// public key, even if they differ by key name and key id."
	for _, w := range p.policy.Witnesses {
		if bytes.Equal(w.Key.key, key.key) {
			return fmt.Errorf("the public key of witness %q is already that of witness %q", args[0], w.Name)
		}
	}
	url, err := policyURL(args[2:])
	if err != nil {
		return err
	}
	if err := p.define(&node{name: args[0], witness: key}); err != nil {
		return err
	}
	p.policy.Witnesses = append(p.policy.Witnesses, PolicyWitness{Name: args[0], Key: key, URL: url})
	return nil
}

// key reads a vkey whose type is ed25519 or ML-DSA-44.
func (p *policyParser) key(vkey string, ed25519 Algorithm) (*Verifier, error) {
	key, err := ParseVKey(vkey)
	if err != nil {
		return nil, err
	}
	if key.alg != ed25519 && key.alg != AlgMLDSA44 {
		return nil, fmt.Errorf("key %s is of type 0x%02x (%s); wanted here is 0x%02x or 0x%02x", key, byte(key.alg), key.alg, byte(ed25519), byte(AlgMLDSA44))
	}
	// Two keys that share name and key ID claim the same signature lines. By
	// accident that does not happen.
	for _, other := range p.policy.keys() {
		if other.claims(key.name, key.id) && !other.same(key) {
			return nil, fmt.Errorf("two different keys are both called %s", key)
		}
	}
	return key, nil
}

// policyURL takes the optional last item of a line. Its meaning is
// application-specific, but a URL has a scheme; a comment has not.
func policyURL(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	scheme, _, ok := strings.Cut(args[0], ":")
	letter := func(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
	for i := range len(scheme) {
		c := scheme[i]
		ok = ok && (letter(c) || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'))
	}
	if !ok || scheme == "" {
		return "", fmt.Errorf("%q is not a URL; comments need a line of their own", args[0])
	}
	return args[0], nil
}

// define enters a name. "Witnesses and groups share a single namespace. The
// special name none is predefined".
func (p *policyParser) define(n *node) error {
	if n.name == "none" {
		return fmt.Errorf("the name none is predefined")
	}
	if p.nodes[n.name] != nil {
		return fmt.Errorf("the name %q is already defined", n.name)
	}
	p.nodes[n.name] = n
	return nil
}

func (p *policyParser) group(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("want: group NAME all|any|K MEMBER, with one MEMBER or more")
	}
	n := &node{name: args[0]}
	names := args[2:]
	switch args[1] {
	case "all":
		n.k = len(names)
	case "any":
		n.k = 1
	default:
		k, ok := parseDecimal(args[1])
		if !ok || k < 1 || k > int64(len(names)) {
			return fmt.Errorf("threshold %q of group %q is not all, any, or a number from 1 to %d", args[1], n.name, len(names))
		}
		n.k = int(k)
	}
	for _, name := range names {
		m := p.nodes[name]
		if m == nil {
			return fmt.Errorf("group %q: no line above defines %q", n.name, name)
		}
		// "Each defined name can be listed as a group member at most once. This
		// ensures that each witness can contribute to a group, or to the quorum
		// in particular, in only one way."
		if g, ok := p.member[name]; ok {
			return fmt.Errorf("group %q: %q is already a member of group %q", n.name, name, g)
		}
		p.member[name] = n.name
		n.members = append(n.members, m)
	}
	return p.define(n)
}

func (p *policyParser) setQuorum(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want: quorum NAME")
	}
	if p.quorum {
		return fmt.Errorf("a second quorum line")
	}
	p.quorum = true
	if args[0] == "none" {
		return nil
	}
	if p.policy.quorum = p.nodes[args[0]]; p.policy.quorum == nil {
		return fmt.Errorf("no line above defines %q", args[0])
	}
	return nil
}

// keys returns every key of the policy.
func (p *Policy) keys() []*Verifier {
	keys := make([]*Verifier, 0, len(p.Logs)+len(p.Witnesses))
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	return keys
}
