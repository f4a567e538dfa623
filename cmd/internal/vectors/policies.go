package vectors

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// vkeyOf is a verifier key whose type and bytes can be anything.
func vkeyOf(name string, kind byte, public []byte) string {
	return (&noteKey{name: name, kind: kind, public: public}).vkey()
}

// policyParts are lines that policies are made of.
type policyParts struct {
	log   string            // the log's Ed25519 key
	logPQ string            // its ML-DSA-44 key as a witness named log-pq
	w     map[string]string // witness lines, by NAME and NAME-pq
}

func newPolicyParts(s *sampleLog) *policyParts {
	p := &policyParts{
		log:   "log " + s.log[0].vkey() + "\n",
		logPQ: "witness log-pq " + s.log[1].vkey() + "\n",
		w:     map[string]string{},
	}
	for _, w := range witnesses {
		p.w[w.name] = fmt.Sprintf("witness %s %s\n", w.name, s.by[w.name][0].vkey())
		p.w[w.name+"-pq"] = fmt.Sprintf("witness %s-pq %s\n", w.name, s.by[w.name][1].vkey())
	}
	return p
}

// witnesses are the lines of those named.
func (p *policyParts) witnesses(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(p.w[n])
	}
	return b.String()
}

// twoOfThree is the policy of the sample log: each witness is one group, whose
// two keys count once.
func (p *policyParts) twoOfThree() string {
	var b strings.Builder
	b.WriteString("# The sample log, cosigned by two of three organisations, each with either of its keys.\n" + p.log)
	for _, w := range witnesses {
		b.WriteString(p.witnesses(w.name, w.name+"-pq"))
		fmt.Fprintf(&b, "group by-%s any %s %s-pq\n", w.name, w.name, w.name)
	}
	b.WriteString("group quorum-of-witnesses 2 by-agency by-assessor by-university\nquorum quorum-of-witnesses\n")
	return b.String()
}

// policies writes good and wrong tlog-policies (c2sp.org/tlog-policy).
func (f *files) policies(s *sampleLog) {
	p := newPolicyParts(s)
	good := map[string]string{
		"two-of-three":   p.twoOfThree(),
		"no-witnesses":   p.log + "quorum none\n",
		"one-witness":    p.log + p.w["agency"] + "quorum agency\n",
		"post-quantum":   p.log + p.logPQ + p.witnesses("agency-pq", "assessor-pq", "university-pq") + "group two 2 agency-pq assessor-pq university-pq\ngroup with-log all log-pq two\nquorum with-log\n",
		"two-logs":       "log " + vkeyOf("log.example/another", typeEd25519, s.by["agency"][0].public) + " https://another.example/\n" + p.log + "quorum none\n",
		"tabs-and-blank": "\n \t\n# a comment\n\t # and one after space\nlog\t" + strings.TrimPrefix(p.log, "log ") + "quorum \t none \n",
	}
	for name, text := range good {
		f.text("policies/good/"+name+".policy", text)
	}
	base := p.log + p.witnesses("agency", "assessor", "university")
	wrong := f.wrongPolicies(s, p, base)
	for name, text := range wrong {
		f.text("policies/wrong/"+name+".policy", text)
	}
}

func (f *files) wrongPolicies(s *sampleLog, p *policyParts, base string) map[string]string {
	agency := s.by["agency"][0]
	spoiledID := strings.Replace(agency.vkey(), fmt.Sprintf("+%x+", agency.id()), "+00000000+", 1)
	unpadded := strings.TrimRight(s.log[1].vkey(), "=")
	short := "log.example/x+" + fmt.Sprintf("%x", (&noteKey{name: "log.example/x", kind: typeEd25519, public: agency.public[:31]}).id()) +
		"+" + base64.StdEncoding.EncodeToString(append([]byte{typeEd25519}, agency.public[:31]...))
	return map[string]string{
		"no-quorum-line":             base,
		"two-quorum-lines":           base + "quorum none\nquorum none\n",
		"quorum-of-two-names":        base + "quorum agency assessor\n",
		"quorum-of-undefined-name":   base + "quorum nobody\n",
		"quorum-before-definition":   p.log + "quorum agency\n" + p.w["agency"],
		"group-before-member":        p.log + "group g any agency\n" + p.w["agency"] + "quorum g\n",
		"group-without-members":      base + "group g any\nquorum g\n",
		"group-of-itself":            base + "group g any g\nquorum g\n",
		"group-without-threshold":    base + "group g agency assessor\nquorum g\n",
		"threshold-zero":             base + "group g 0 agency assessor\nquorum g\n",
		"threshold-above-members":    base + "group g 3 agency assessor\nquorum g\n",
		"threshold-leading-zero":     base + "group g 02 agency assessor\nquorum g\n",
		"threshold-with-sign":        base + "group g +2 agency assessor\nquorum g\n",
		"threshold-negative":         base + "group g -1 agency assessor\nquorum g\n",
		"threshold-in-capitals":      base + "group g ANY agency assessor\nquorum g\n",
		"member-twice-in-one-group":  base + "group g 2 agency agency assessor\nquorum g\n",
		"member-of-two-groups":       base + "group a any agency assessor\ngroup b any agency university\ngroup g all a b\nquorum g\n",
		"none-as-member":             base + "group g any none agency\nquorum g\n",
		"none-defined":               p.log + "witness none " + agency.vkey() + "\nquorum none\n",
		"name-defined-twice":         p.log + p.w["agency"] + "witness agency " + s.by["assessor"][0].vkey() + "\nquorum agency\n",
		"group-named-as-witness":     base + "group agency any assessor university\nquorum agency\n",
		"witness-key-twice":          p.log + p.w["agency"] + "witness again " + agency.vkey() + "\ngroup g 2 agency again\nquorum g\n",
		"witness-key-twice-renamed":  p.log + p.w["agency"] + "witness again " + vkeyOf("other.example", typeCosignEd25519, agency.public) + "\ngroup g 2 agency again\nquorum g\n",
		"log-key-twice":              p.log + p.log + "quorum none\n",
		"log-key-of-a-witness":       "log " + agency.vkey() + "\nquorum none\n",
		"witness-key-of-a-log":       p.log + "witness w " + s.log[0].vkey() + "\nquorum w\n",
		"key-of-unknown-type":        p.log + "witness w " + vkeyOf("w.example", 0x05, agency.public) + "\nquorum w\n",
		"key-id-of-another-key":      p.log + "witness w " + spoiledID + "\nquorum w\n",
		"key-id-in-capitals":         p.log + "witness w " + upperID(agency) + "\nquorum w\n",
		"key-too-short":              "log " + short + "\nquorum none\n",
		"key-without-padding":        "log " + unpadded + "\nquorum none\n",
		"key-missing":                p.log + "witness agency\nquorum none\n",
		"key-name-with-a-space":      p.log + "witness w " + vkeyOf("two words", typeCosignEd25519, agency.public) + "\nquorum w\n",
		"comment-behind-an-item":     base + "quorum none # really\n",
		"comment-behind-a-key":       strings.TrimSuffix(p.log, "\n") + " # ours\nquorum none\n",
		"keyword-in-capitals":        base + "Quorum none\n",
		"keyword-unknown":            base + "threshold 2\nquorum none\n",
		"no-break-space":             base + "quorum\u00a0none\n",
		"carriage-returns":           strings.ReplaceAll(base+"quorum none\n", "\n", "\r\n"),
		"vertical-tab":               base + "quorum\vnone\n",
		"last-line-not-terminated":   base + "quorum none",
		"url-without-scheme":         strings.TrimSuffix(p.log, "\n") + " log.example\nquorum none\n",
		"more-than-a-url":            strings.TrimSuffix(p.log, "\n") + " https://a.example https://b.example\nquorum none\n",
		"byte-order-mark":            "\ufeff" + base + "quorum none\n",
		"empty":                      "",
		"two-keys-in-one-log-line":   "log " + s.log[0].vkey() + " " + s.log[1].vkey() + "\nquorum none\n",
		"private-key-of-the-witness": p.log + "witness w " + agency.skey() + "\nquorum w\n",
	}
}

// upperID writes the key ID in capital hex digits. The sample key's has letters.
func upperID(k *noteKey) string {
	return strings.Replace(k.vkey(), fmt.Sprintf("+%x+", k.id()), fmt.Sprintf("+%X+", k.id()), 1)
}
