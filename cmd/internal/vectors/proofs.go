package vectors

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// proofs writes tlog-proofs of one leaf of the sample log, that leaf, and the
// envelope it was made from. Folders say what comes of verifying them under
// policies/good/two-of-three.policy.
func (f *files) proofs(s *sampleLog) {
	m := f.noteMaker(s)
	index := s.find("session.attested")
	good := path(index, s.hashes)
	f.bytes("vectors/tlog-proof/leaf", s.leaves[index])
	f.envelope("vectors/tlog-proof/envelope", s.events[index].payload, s.events[index].signatures...)
	p := &proofMaker{noteMaker: m, index: index, ms: s.times[index], path: good}
	write := func(folder string, proofs map[string]string) {
		for name, text := range proofs {
			f.text("vectors/tlog-proof/"+folder+"/"+name+".tlog-proof", text)
		}
	}
	write("good", map[string]string{
		"ed25519":       p.with(m.enough()),
		"mldsa44":       p.with(m.note(m.log(), m.mldsa("agency"), m.mldsa("university"))),
		"without-extra": strings.Replace(p.with(m.enough()), extraLine(p.ms), "", 1),
	})
	write("malformed", p.malformed())
	write("not-included", p.notIncluded())
	write("wrong-time", map[string]string{
		"one-ms-later":  proofFile(p.ms+1, index, good, m.enough()),
		"zero":          proofFile(0, index, good, m.enough()),
		"in-seconds":    proofFile(p.ms/1000, index, good, m.enough()),
		"of-four-bytes": strings.Replace(p.with(m.enough()), extraLine(p.ms), "extra "+base64.StdEncoding.EncodeToString([]byte{1, 2, 3, 4})+"\n", 1),
	})
	write("quorum-unmet", map[string]string{"one-witness-two-keys": p.with(m.note(m.log(), m.ed("agency"), m.mldsa("agency")))})
	write("unsigned", map[string]string{"witnesses-only": p.with(m.note(m.ed("agency"), m.ed("assessor")))})
	otherRoot := m.h
	otherRoot.root = flip(m.h.root)
	write("bad-signature", map[string]string{
		"root-changed":        p.with(otherRoot.text() + strings.TrimPrefix(m.enough(), m.h.text())),
		"cosignature-flipped": p.with(m.note(m.log(), m.spoil(m.ed("agency"), flipAt(20)), m.ed("assessor"))),
	})
}

// proofMaker makes proofs of one leaf.
type proofMaker struct {
	*noteMaker
	index int
	ms    uint64
	path  []hash
}

func (p *proofMaker) with(note string) string { return proofFile(p.ms, p.index, p.path, note) }

func extraLine(ms uint64) string {
	text := proofFile(ms, 0, nil, "")
	_, rest, _ := strings.Cut(text, "\n")
	line, _, _ := strings.Cut(rest, "\n")
	return line + "\n"
}

// malformed are not written as c2sp.org/tlog-proof says.
func (p *proofMaker) malformed() map[string]string {
	good := p.with(p.enough())
	first := p.path[0].String()
	index := fmt.Sprintf("index %d\n", p.index)
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	return map[string]string{
		"empty":                      "",
		"header-of-version-2":        change("@v1", "@v2"),
		"header-missing":             change("c2sp.org/tlog-proof@v1\n", ""),
		"index-missing":              change(index, ""),
		"index-with-leading-zero":    change("index ", "index 0"),
		"index-negative":             change("index ", "index -"),
		"index-with-two-spaces":      change("index ", "index  "),
		"index-before-extra":         change(extraLine(p.ms)+index, index+extraLine(p.ms)),
		"index-twice":                change(index, index+index),
		"extra-empty":                change(extraLine(p.ms), "extra \n"),
		"extra-twice":                change(extraLine(p.ms), extraLine(p.ms)+extraLine(p.ms)),
		"extra-without-padding":      change(extraLine(p.ms), strings.TrimRight(extraLine(p.ms), "=\n")+"\n"),
		"hash-of-31-bytes":           change(first, base64.StdEncoding.EncodeToString(p.path[0][:31])),
		"hash-without-padding":       change(first, strings.TrimRight(first, "=")),
		"hash-with-stray-bits":       change(first, strayBits(first)),
		"hash-with-a-space-behind":   change(first, first+" "),
		"sixty-four-hashes":          change(first+"\n", strings.Repeat(first+"\n", 64)),
		"no-empty-line":              change("\n\n", "\n"),
		"two-empty-lines":            change("\n\n", "\n\n\n"),
		"checkpoint-missing":         good[:strings.Index(good, "\n\n")+2],
		"checkpoint-without-its-end": good[:len(good)-10],
		"checkpoint-unsigned":        good[:strings.Index(good, "\n— ")] + "\n",
		"carriage-returns":           strings.ReplaceAll(good, "\n", "\r\n"),
	}
}

// notIncluded are well written, under a good checkpoint, and prove nothing.
func (p *proofMaker) notIncluded() map[string]string {
	proof := func(index int, path []hash) string { return proofFile(p.ms, index, path, p.enough()) }
	change := func(do func(path []hash) []hash) string { return proof(p.index, do(slices.Clone(p.path))) }
	return map[string]string{
		"index-one-less":      proof(p.index-1, p.path),
		"index-one-more":      proof(p.index+1, p.path),
		"index-beyond-size":   proof(int(p.h.size), p.path),
		"of-another-leaf":     proof(p.index+2, path(p.index+2, p.s.hashes)),
		"hash-flipped":        change(func(h []hash) []hash { h[2] = flip(h[2]); return h }),
		"hash-missing":        change(func(h []hash) []hash { return h[1:] }),
		"hash-too-many":       change(func(h []hash) []hash { return append(h, h[0]) }),
		"hashes-exchanged":    change(func(h []hash) []hash { h[0], h[1] = h[1], h[0]; return h }),
		"no-hashes":           change(func([]hash) []hash { return nil }),
		"from-a-smaller-tree": proof(p.index, path(p.index, p.s.hashes[:p.h.size-1])),
	}
}
