package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func identityOf(n int) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// The set against a map, over many sizes of what is added at once, in memory and
// opened again from its files each time.
func TestIdentities(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		dir := ""
		if reopen {
			dir = t.TempDir()
		}
		r := rand.New(rand.NewPCG(1, 2))
		s, known := newIdentities(dir), map[int]int64{}
		s.limit = 7
		index := int64(0)
		for round := range map[bool]int{false: 200, true: 40}[reopen] {
			var want []repeat
			n := r.IntN(1 + 10<<r.IntN(6))
			for range n {
				who := r.IntN(20000)
				if round%5 > 0 { // mostly new ones
					who += 20000 + int(index)*40000
				}
				if err := s.add(identityOf(who), index); err != nil {
					t.Fatal(err)
				}
				if earlier, ok := known[who]; ok {
					want = append(want, repeat{index, earlier})
				} else {
					known[who] = index
				}
				index++
			}
			got, err := s.settle()
			if err != nil {
				t.Fatal(err)
			}
			// No audit goes on with such a set, and so the runs keep both.
			got = slices.DeleteFunc(got, func(x repeat) bool { return x.index < index-int64(n) })
			for i := range got { // the first that was found may repeat one of an earlier round
				if i < len(want) && got[i].index == want[i].index && got[i].earlier >= want[i].earlier {
					got[i].earlier = want[i].earlier
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: %v are there twice, not %v", round, got, want)
			}
			if s.len() != index {
				t.Fatalf("%d identities, not %d", s.len(), index)
			}
			if !reopen {
				continue
			}
			list, err := s.sync()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.named(); err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			s = newIdentities(dir)
			s.limit = 7
			if err := s.open(list); err != nil {
				t.Fatal(err)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != len(list) || len(files) > 16 {
				t.Fatalf("%d files, of which %d are named", len(files), len(list))
			}
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A set of identities that is missing, changed, behind or ahead of what was
// verified is made anew from the log, and still finds an event that is there twice.
func TestIdentitiesMadeAnew(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, dir string, f *stateFile){
		"missing": func(t *testing.T, dir string, f *stateFile) {
			must(t, os.Remove(filepath.Join(dir, f.Runs[0].Name)))
		},
		"changed": func(t *testing.T, dir string, f *stateFile) {
			name := filepath.Join(dir, f.Runs[0].Name)
			content, err := os.ReadFile(name)
			must(t, err)
			content[5] ^= 1
			must(t, os.WriteFile(name, content, 0o644))
		},
		"cut off": func(t *testing.T, dir string, f *stateFile) {
			must(t, os.Truncate(filepath.Join(dir, f.Runs[0].Name), identitySize))
		},
		"behind": func(_ *testing.T, _ string, f *stateFile) { f.Runs = nil },
		"ahead":  func(_ *testing.T, _ string, f *stateFile) { f.Runs = append(f.Runs, f.Runs[0]) },
	} {
		t.Run(what, func(t *testing.T) {
			l, dir := newLog(t), t.TempDir()
			l.grow(20)
			expect(t, mustAudit(t, l, inState(dir)), ExitProven)
			var f stateFile
			content, err := os.ReadFile(filepath.Join(dir, fileState))
			must(t, err)
			must(t, decodeState(content, &f))
			damage(t, dir, &f)
			content, err = encodeState(&f)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, fileState), content, 0o644))
			var notice string
			told := func(c *Config) { c.Notice = func(s string) { notice += s } }
			l.grow(3)
			l.note = nil
			expect(t, mustAudit(t, l, inState(dir), told), ExitProven)
			if !strings.Contains(notice, "all leaves are read again") {
				t.Errorf("told: %q", notice)
			}
			notice = ""
			l.add(l.leaves[3])
			l.note = nil
			r := mustAudit(t, l, inState(dir), told)
			expect(t, r, ExitIntegrity, VerdictTimes, VerdictIdentities)
			if !strings.Contains(r.Failures[1].Detail, "are those of leaf 3") {
				t.Errorf("%+v", r.Failures)
			}
			if notice != "" {
				t.Errorf("told: %q", notice)
			}
		})
	}
}

// What a crash left beside the runs that the state names is removed, and what it
// names stays until the next state is there.
func TestIdentitiesAfterCrash(t *testing.T) {
	l, dir := newLog(t), t.TempDir()
	l.grow(10)
	expect(t, mustAudit(t, l, inState(dir)), ExitProven)
	s, d, err := openState(dir)
	must(t, err)
	for i := range 500 { // merged with what is named
		must(t, s.identities.add(identityOf(i), int64(1000+i)))
	}
	_, err = s.identities.settle()
	must(t, err)
	_, err = s.identities.sync()
	must(t, err)
	must(t, d.close()) // and no more: the state file is the old one
	l.grow(10)
	l.note = nil
	notice := ""
	expect(t, mustAudit(t, l, inState(dir), func(c *Config) { c.Notice = func(s string) { notice += s } }), ExitProven)
	if notice != "" {
		t.Errorf("told: %q", notice)
	}
	files, _ := filepath.Glob(filepath.Join(dir, runPattern))
	if len(files) != 1 {
		t.Errorf("%d runs are left, of which the state names 1", len(files))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
