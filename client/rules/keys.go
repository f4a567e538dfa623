package rules

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxUses bounds the newest uses of a key that are remembered.
const maxUses = 1 << 16

// keyUses remembers what a key signed.
type keyUses struct {
	uses    []keyUse // by index
	dropped int64    // older ones that were forgotten
}

type keyUse struct{ index, leaf int64 } // ms

// useKeys notes who signed a leaf.
func (e *Engine) useKeys(r *Record, f *fact) {
	for _, s := range r.Entry.Signatures {
		u := e.keys[s.KeyID]
		if u == nil {
			u = &keyUses{}
			e.keys[s.KeyID] = u
		}
		if len(u.uses) == 2*maxUses {
			u.uses = append(u.uses[:0], u.uses[maxUses:]...)
			u.dropped += maxUses
		}
		u.uses = append(u.uses, keyUse{f.ref.Index, r.LeafTime})
	}
}

// reportKeys is the part of rule 24 about keys: used since they were
// compromised. A key that was revoked signs nothing more, which the verifier has
// seen to.
func (e *Engine) reportKeys(b *board) {
	for range e.keys {
		b.look(RevokedUse)
	}
	moments := e.directory.Compromised()
	for _, id := range slices.Sorted(maps.Keys(moments)) {
		u := e.keys[id]
		if u == nil {
			continue
		}
		i := slices.IndexFunc(u.uses, func(x keyUse) bool { return !time.UnixMilli(x.leaf).Before(moments[id]) })
		if i < 0 {
			continue
		}
		more := ""
		if i == 0 && u.dropped > 0 {
			more = "at least "
		}
		first, last := u.uses[i], u.uses[len(u.uses)-1]
		b.find(RevokedUse, "key/"+id, fmt.Sprintf("compromised since %s, and signed %s%d leaves since then, from leaf %d to leaf %d", stamp(moments[id]), more, len(u.uses)-i, first.index, last.index),
			&fact{ref: Ref{Index: first.index}, leaf: time.UnixMilli(first.leaf)}, &fact{ref: Ref{Index: last.index}, leaf: time.UnixMilli(last.leaf)})
	}
}
