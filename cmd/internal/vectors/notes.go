package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/escortlog/escortlog/cmd/internal/samples"
)

// noteMaker makes notes over the whole sample log.
type noteMaker struct {
	*files
	s    *sampleLog
	h    head
	unix uint64
}

func (f *files) noteMaker(s *sampleLog) *noteMaker {
	return &noteMaker{files: f, s: s, h: s.head(len(s.leaves)), unix: s.cosigned()}
}

// log and pq are the log's two signature lines; ed and mldsa those of a witness.
func (m *noteMaker) log() string              { return m.sign(m.s.log[0], m.h, m.unix) }
func (m *noteMaker) pq() string               { return m.sign(m.s.log[1], m.h, m.unix) }
func (m *noteMaker) ed(witness string) string { return m.sign(m.s.by[witness][0], m.h, m.unix) }
func (m *noteMaker) mldsa(witness string) string {
	return m.sign(m.s.by[witness][1], m.h, m.unix)
}

// note is a note over the head's own text.
func (m *noteMaker) note(lines ...string) string { return note(m.h.text(), lines...) }

// enough is a note that the policy two-of-three accepts, in few bytes.
func (m *noteMaker) enough() string { return m.note(m.log(), m.ed("agency"), m.ed("assessor")) }

// spoil changes the signature in a line, behind the key ID.
func (m *noteMaker) spoil(line string, change func(sig []byte)) string {
	name, sig, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "— "), "\n"), " ")
	raw, err := base64.StdEncoding.DecodeString(sig)
	m.fail(err)
	change(raw[4:])
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(raw))
}

func flipAt(i int) func([]byte) { return func(sig []byte) { sig[i] ^= 1 } }

// later changes the time of a cosignature.
func later(sig []byte) { binary.BigEndian.PutUint64(sig, binary.BigEndian.Uint64(sig)+1) }

// checkpoints writes signed checkpoints. Folders say what the policy
// policies/good/two-of-three.policy makes of them.
func (f *files) checkpoints(s *sampleLog) {
	m := f.noteMaker(s)
	write := func(folder string, notes map[string]string) {
		for name, n := range notes {
			f.text("vectors/checkpoint/"+folder+"/"+name+".note", n)
		}
	}
	write("good", m.good())
	write("malformed", m.malformed())
	write("unsigned", m.unsigned())
	write("bad-signature", m.badSignature())
	write("wrong-origin", m.wrongOrigin())
	write("quorum-unmet", m.quorumUnmet())
}

func (m *noteMaker) good() map[string]string {
	stranger := m.stranger("witness.stranger.example", typeCosignEd25519)
	extended := head{origin: m.h.origin, size: m.h.size, root: m.h.root}
	text := extended.text() + "an extension line\n"
	var lines []string
	for _, k := range []*noteKey{m.s.log[0], m.s.by["agency"][0], m.s.by["assessor"][0]} {
		sig, err := k.signature(extended, text, m.unix)
		m.fail(err)
		lines = append(lines, k.line(sig))
	}
	return map[string]string{
		"ed25519":                m.enough(),
		"mldsa44":                m.note(m.log(), m.mldsa("agency"), m.mldsa("assessor")),
		"one-of-each":            m.note(m.log(), m.ed("agency"), m.mldsa("university")),
		"every-signature":        m.fullNote(m.s),
		"cosignatures-first":     m.note(m.ed("university"), m.ed("agency"), m.log()),
		"with-an-unknown-signer": m.note(m.log(), stranger, m.ed("agency"), m.ed("assessor")),
		"with-an-extension":      note(text, lines...),
	}
}

func (m *noteMaker) stranger(name string, kind byte) string {
	k, err := newNoteKey(name, kind)
	m.fail(err)
	return m.sign(k, m.h, m.unix)
}

// malformed are not notes, or not checkpoints, or written in another way than
// the one there is. Signatures are not looked at.
func (m *noteMaker) malformed() map[string]string {
	enough, text := m.enough(), m.h.text()
	signed := strings.TrimPrefix(enough, text)
	lines := strings.SplitAfter(text, "\n")
	root := m.h.root.String()
	retext := func(old, new string) string { return strings.Replace(text, old, new, 1) + signed }
	size := fmt.Sprint(m.h.size)
	return map[string]string{
		"empty":                     "",
		"no-empty-line":             strings.Replace(enough, "\n\n", "\n", 1),
		"no-signatures":             text + "\n",
		"text-alone":                text,
		"text-of-two-lines":         lines[0] + lines[1] + signed,
		"carriage-returns":          strings.ReplaceAll(enough, "\n", "\r\n"),
		"tab-in-the-origin":         retext(samples.Origin, samples.Origin+"\t"),
		"origin-empty":              retext(samples.Origin, ""),
		"origin-of-256-bytes":       retext(samples.Origin, strings.Repeat("o", 256)),
		"origin-not-utf-8":          retext(samples.Origin, "\xff"),
		"size-with-leading-zero":    retext("\n"+size+"\n", "\n0"+size+"\n"),
		"size-with-plus":            retext("\n"+size+"\n", "\n+"+size+"\n"),
		"size-negative":             retext("\n"+size+"\n", "\n-"+size+"\n"),
		"size-with-space":           retext("\n"+size+"\n", "\n"+size+" \n"),
		"size-in-hex":               retext("\n"+size+"\n", "\n0x73\n"),
		"size-empty":                retext("\n"+size+"\n", "\n\n"),
		"size-of-2-to-the-63":       retext("\n"+size+"\n", "\n9223372036854775808\n"),
		"root-of-31-bytes":          retext(root, base64.StdEncoding.EncodeToString(m.h.root[:31])),
		"root-of-33-bytes":          retext(root, base64.StdEncoding.EncodeToString(append(bytes.Clone(m.h.root[:]), 0))),
		"root-without-padding":      retext(root, strings.TrimRight(root, "=")),
		"root-in-hex":               retext(root, fmt.Sprintf("%x", m.h.root)),
		"root-with-stray-bits":      retext(root, strayBits(root)),
		"root-in-url-base64":        retext(root, "-_"+root[2:]),
		"hyphen-for-the-dash":       strings.Replace(enough, "— ", "- ", 1),
		"en-dash-for-the-em-dash":   strings.Replace(enough, "— ", "– ", 1),
		"two-spaces-in-a-signature": strings.Replace(enough, "— ", "—  ", 1),
		"signature-of-four-bytes":   text + "\n— " + samples.Origin + " AAAAAA==\n",
		"signature-not-base64":      text + "\n— " + samples.Origin + " ****\n",
		"signature-without-a-name":  text + "\n—  AAAAAAA=\n",
		"name-with-a-plus":          text + "\n— a+b AAAAAAA=\n",
		"last-line-not-terminated":  strings.TrimSuffix(enough, "\n"),
		"text-behind-signatures":    enough + "the end\n",
		"empty-line-behind":         enough + "\n",
		"two-notes":                 enough + enough[:len(enough)-1],
		"byte-order-mark-in-a-line": strings.Replace(enough, "— ", "\ufeff— ", 1),
		"too-many-signatures":       text + "\n" + strings.Repeat("— a AAAAAAA=\n", 513),
	}
}

// strayBits sets bits in the last character that decode to nothing.
func strayBits(b64 string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.IndexByte(alphabet, b64[42])
	return b64[:42] + string(alphabet[i|1]) + "="
}

// unsigned are notes that no key of a log in the policy signed.
func (m *noteMaker) unsigned() map[string]string {
	another := m.stranger("log.example/another", typeEd25519)
	// The name is the log's, the key is not.
	impostor, err := newNoteKey("impostor", typeEd25519)
	m.fail(err)
	impostor.name = samples.Origin
	return map[string]string{
		"witnesses-only":            m.note(m.ed("agency"), m.ed("assessor")),
		"by-another-log":            m.note(another, m.ed("agency"), m.ed("assessor")),
		"by-another-key-of-no-name": m.note(m.sign(impostor, m.h, m.unix), m.ed("agency"), m.ed("assessor")),
		"mldsa44-key-not-in-policy": m.note(m.pq(), m.ed("agency"), m.ed("assessor")),
		"nobody-known":              m.note(another),
	}
}

// badSignature are notes on which a line of a known key does not verify.
func (m *noteMaker) badSignature() map[string]string {
	smaller := m.s.head(int(m.h.size) - 1)
	text, body := m.h.text(), strings.TrimPrefix(m.enough(), m.h.text())
	otherRoot := m.h
	otherRoot.root = flip(m.h.root)
	otherSize := m.h
	otherSize.size++
	agencySmaller := m.sign(m.s.by["agency"][0], smaller, m.unix)
	pqSmaller := m.sign(m.s.by["agency"][1], smaller, m.unix)
	foreign := m.h
	foreign.origin = "log.example/another"
	return map[string]string{
		"root-changed":                     otherRoot.text() + body,
		"size-changed":                     otherSize.text() + body,
		"extension-added-afterwards":       text + "added\n" + body,
		"log-ed25519-flipped":              m.note(m.spoil(m.log(), flipAt(5)), m.ed("agency"), m.ed("assessor")),
		"cosignature-ed25519-flipped":      m.note(m.log(), m.spoil(m.ed("agency"), flipAt(20)), m.ed("assessor")),
		"cosignature-ed25519-time-changed": m.note(m.log(), m.spoil(m.ed("agency"), later), m.ed("assessor")),
		"cosignature-ed25519-of-smaller":   m.note(m.log(), agencySmaller, m.ed("assessor")),
		"cosignature-mldsa44-flipped":      m.note(m.log(), m.spoil(m.mldsa("agency"), flipAt(800)), m.ed("assessor")),
		"cosignature-mldsa44-time-changed": m.note(m.log(), m.spoil(m.mldsa("agency"), later), m.ed("assessor")),
		"cosignature-mldsa44-of-smaller":   m.note(m.log(), pqSmaller, m.ed("assessor")),
		"cosignature-mldsa44-other-origin": m.note(m.log(), m.sign(m.s.by["agency"][1], foreign, m.unix), m.ed("assessor")),
		"cosignature-time-negative":        m.note(m.log(), m.spoil(m.ed("agency"), func(s []byte) { s[0] |= 0x80 }), m.ed("assessor")),
		"one-bad-beside-two-good":          m.note(m.log(), m.ed("agency"), m.ed("assessor"), m.spoil(m.ed("university"), flipAt(20))),
		"second-line-of-a-key-bad":         m.note(m.log(), m.ed("agency"), m.spoil(m.ed("agency"), flipAt(20)), m.ed("assessor")),
	}
}

// wrongOrigin are heads of another log that this log's key signed.
func (m *noteMaker) wrongOrigin() map[string]string {
	other := m.h
	other.origin = "log.example/another"
	return map[string]string{
		"origin-of-another-log": note(other.text(), m.sign(m.s.log[0], other, m.unix),
			m.sign(m.s.by["agency"][0], other, m.unix), m.sign(m.s.by["assessor"][0], other, m.unix)),
	}
}

// quorumUnmet are notes that the log signed and too few witnesses.
func (m *noteMaker) quorumUnmet() map[string]string {
	return map[string]string{
		"log-alone":              m.note(m.log(), m.pq()),
		"one-witness":            m.note(m.log(), m.ed("agency")),
		"one-witness-two-keys":   m.note(m.log(), m.ed("agency"), m.mldsa("agency")),
		"one-witness-twice":      m.note(m.log(), m.ed("agency"), m.ed("agency")),
		"one-witness-two-times":  m.note(m.log(), m.ed("agency"), m.sign(m.s.by["agency"][0], m.h, m.unix+60)),
		"one-known-one-stranger": m.note(m.log(), m.ed("agency"), m.stranger("witness.stranger.example", typeCosignEd25519)),
	}
}
