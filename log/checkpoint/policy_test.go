package checkpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
)

// party makes the vkeys of a policy's text by name.
func logKey(t testing.TB, name string) string {
	return newSigner(t, name, checkpoint.AlgEd25519).VKey()
}

func witnessKey(t testing.TB, name string) string {
	return newSigner(t, name, checkpoint.AlgCosignEd25519).VKey()
}

func pqKey(t testing.TB, name string) string {
	return newSigner(t, name, checkpoint.AlgMLDSA44).VKey()
}

// expand replaces {log NAME}, {wit NAME} and {pq NAME} by keys.
func expand(t testing.TB, text string) string {
	t.Helper()
	for kind, key := range map[string]func(testing.TB, string) string{"log": logKey, "wit": witnessKey, "pq": pqKey} {
		for {
			before, rest, ok := strings.Cut(text, "{"+kind+" ")
			if !ok {
				break
			}
			name, after, _ := strings.Cut(rest, "}")
			text = before + key(t, name) + after
		}
	}
	return text
}

func parsePolicy(t testing.TB, text string) *checkpoint.Policy {
	t.Helper()
	p, err := checkpoint.ParsePolicy([]byte(expand(t, text)))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

const three = "witness a {wit a}\nwitness b {wit b}\nwitness c {wit c}\n"

func TestPolicyAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"quorum none":              "quorum none\n",
		"only a witness":           "witness a {wit a}\nquorum a\n",
		"indented, tabs":           " \tlog\t {log l}\t https://l.example/ \t\n\t\n  # comment\nquorum \tnone\t\n",
		"log with ML-DSA":          "log {log l}\nlog {pq l}\nquorum none\n",
		"log key also a witness":   "log {log l}\nlog {pq l}\nwitness l {pq l}\nquorum l\n",
		"quorum before the logs":   "witness a {wit a}\nquorum a\nlog {log l}\n",
		"group after the quorum":   three + "quorum a\ngroup g any b c\n",
		"quorum is also a member":  three + "group g any a b\ngroup h all g c\nquorum g\n",
		"keywords as names":        "witness any {wit a}\nwitness all {wit b}\nwitness 1 {wit c}\nwitness quorum {wit d}\nwitness log {wit e}\ngroup witness any any all 1 quorum log\nquorum witness\n",
		"hash within a name":       "witness #a {wit a}\nwitness b#b {wit b}\ngroup g any #a b#b\nquorum g\n",
		"high bytes":               "# \xff\xfe\nwitness \xc3\x28 {wit a} https://\xff.example/\nquorum \xc3\x28\n",
		"no-break space in a name": "witness a\u00a0b {wit a}\nquorum a\u00a0b\n",
		"Kelvin and K":             "witness K {wit a}\nwitness \u212a {wit b}\ngroup g 2 K \u212a\nquorum g\n",
		"Ed25519 key as log and as witness": "log {log x}\nwitness x " + func() string {
			s := newSigner(t, "x", checkpoint.AlgEd25519)
			return vkey(t, "x", append([]byte{4}, s.Verifier().PublicKey()...))
		}() + "\nquorum x\n",
		"all of one":   "witness a {wit a}\ngroup g all a\nquorum g\n",
		"unused group": three + "group g any a b\nquorum c\n",
		"other scheme": "log {log l} file:///var/lib/log\nquorum none\n",
	} {
		if _, err := checkpoint.ParsePolicy([]byte(expand(t, text))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	log1, log2 := collision(t, checkpoint.AlgEd25519, checkpoint.AlgEd25519)
	log3, wit3 := collision(t, checkpoint.AlgEd25519, checkpoint.AlgCosignEd25519)
	reused := newSigner(t, "first", checkpoint.AlgCosignEd25519).Verifier().PublicKey()
	renamed := vkey(t, "second", append([]byte{4}, reused...))
	mldsaKey := newSigner(t, "first", checkpoint.AlgMLDSA44).Verifier().PublicKey()
	renamedMLDSA := vkey(t, "second", append([]byte{6}, mldsaKey...))
	renamedLog := vkey(t, "second", append([]byte{1}, newSigner(t, "first", checkpoint.AlgEd25519).Verifier().PublicKey()...))
	for name, text := range map[string]string{
		"empty":                                "",
		"only a comment":                       "# quorum none\n",
		"no quorum":                            "log {log l}\n",
		"two quorums":                          "quorum none\nquorum none\n",
		"quorum of two names":                  three + "quorum a b\n",
		"quorum of nothing":                    "quorum\n",
		"quorum undefined":                     "quorum a\n",
		"quorum defined below":                 "quorum a\nwitness a {wit a}\n",
		"last line not ended":                  "quorum none",
		"carriage return":                      "quorum none\r\n",
		"carriage return in comment":           "# comment\r\nquorum none\n",
		"form feed":                            "quorum\fnone\n",
		"vertical tab":                         "quorum\vnone\n",
		"NUL":                                  "quorum none\x00\n",
		"DEL in a comment":                     "# \x7f\nquorum none\n",
		"NUL in a comment":                     "# \x00\nquorum none\n",
		"DEL":                                  "quorum none\x7f\n",
		"no-break space separates":             "quorum\u00a0none\n",
		"line separator separates":             "quorum none\u2028quorum none\n",
		"byte order mark":                      "\ufeffquorum none\n",
		"comment after an item":                "quorum none # of them\n",
		"comment after a log":                  "log {log l} # ours\nquorum none\n",
		"comment glued after a log":            "log {log l} #ours\nquorum none\n",
		"comment after a witness":              "witness a {wit a} #x\nquorum a\n",
		"capital keyword":                      "Quorum none\n",
		"unknown keyword":                      "policy 1\nquorum none\n",
		"log without key":                      "log\nquorum none\n",
		"log with bad key":                     "log l+00000000+AQ==\nquorum none\n",
		"log with four items":                  "log {log l} https://a https://b\nquorum none\n",
		"log of witness type":                  "log {wit l}\nquorum none\n",
		"log URL of colon only":                "log {log l} ://x\nquorum none\n",
		"witness without name":                 "witness {wit a}\nquorum none\n",
		"witness of log type":                  "witness a {log a}\nquorum a\n",
		"witness named none":                   "witness none {wit a}\nquorum none\n",
		"witness named twice":                  "witness a {wit a}\nwitness a {wit b}\nquorum a\n",
		"witness key twice":                    "witness a {wit a}\nwitness b {wit a}\nquorum a\n",
		"witness key renamed":                  "witness a {wit first}\nwitness b " + renamed + "\nquorum a\n",
		"witness ML-DSA key renamed":           "witness a {pq first}\nwitness b " + renamedMLDSA + "\nquorum a\n",
		"log twice":                            "log {log l}\nlog {log l}\nquorum none\n",
		"log key renamed":                      "log {log first}\nlog " + renamedLog + "\nquorum none\n",
		"group without members":                three + "group g any\nquorum none\n",
		"group without threshold":              three + "group g\nquorum none\n",
		"group named none":                     three + "group none any a b\nquorum none\n",
		"group named as a witness":             three + "group a any b c\nquorum a\n",
		"group twice":                          three + "group g any a\ngroup g any b\nquorum g\n",
		"group in itself":                      three + "group g any g\nquorum g\n",
		"group with none":                      three + "group g any a none\nquorum g\n",
		"group with an undefined name":         three + "group g any a d\nquorum g\n",
		"group with a later name":              "group g any a\nwitness a {wit a}\nquorum g\n",
		"threshold zero":                       three + "group g 0 a b\nquorum g\n",
		"threshold above n":                    three + "group g 3 a b\nquorum g\n",
		"threshold with sign":                  three + "group g +1 a b\nquorum g\n",
		"threshold negative":                   three + "group g -1 a b\nquorum g\n",
		"threshold with leading zero":          three + "group g 01 a b\nquorum g\n",
		"threshold in hex":                     three + "group g 0x1 a b\nquorum g\n",
		"threshold of words":                   three + "group g most a b\nquorum g\n",
		"threshold in capitals":                three + "group g ANY a b\nquorum g\n",
		"threshold that overflows":             three + "group g 18446744073709551617 a b\nquorum g\n",
		"member twice in a group":              three + "group g 2 a a b\nquorum g\n",
		"member of two groups":                 three + "group g any a b\ngroup h any a c\ngroup q all g h\nquorum q\n",
		"member of two, one unused":            three + "group g any a b\ngroup h any a c\nquorum g\n",
		"group in two groups":                  three + "group g any a b\ngroup h any g c\ngroup i any g\nquorum h\n",
		"witness direct and through group":     three + "group g any a b\ngroup h 2 a g\nquorum h\n",
		"longer than the limit":                strings.Repeat("# filler\n", 1<<17) + "quorum none\n",
		"two keys with one name and one ID":    "log " + log3 + "\nwitness x " + wit3 + "\nquorum none\n",
		"two logs with one name and one ID":    "log " + log1 + "\nlog " + log2 + "\nquorum none\n",
		"key ID of another key":                "witness a " + strings.Replace(witnessKey(t, "a"), "a+", "b+", 1) + "\nquorum a\n",
		"vkey with a no-break space in it":     "log \u00a0{log l}\nquorum none\n",
		"witness with too many items":          "witness a {wit a} https://a.example/ x\nquorum a\n",
		"quorum none with something":           "quorum none none\n",
		"group member separated by a no-break": three + "group g any a\u00a0b\nquorum g\n",
	} {
		if _, err := checkpoint.ParsePolicy([]byte(expand(t, text))); !errors.Is(err, checkpoint.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// collision returns two verifier keys of the given types that share name and
// key ID and differ in their public key. A key ID has 32 bits, so that some
// 2^16 keys suffice.
func collision(t *testing.T, first, second checkpoint.Algorithm) (string, string) {
	t.Helper()
	seen := map[uint32][]byte{}
	r := seeded("collision", first<<4|second)
	for {
		key := make([]byte, 32)
		if _, err := r.Read(key); err != nil {
			t.Fatal(err)
		}
		a, b := append([]byte{byte(first)}, key...), append([]byte{byte(second)}, key...)
		if other := seen[keyID("x", b)]; other != nil {
			return vkey(t, "x", other), vkey(t, "x", b)
		}
		seen[keyID("x", a)] = a
	}
}

// "It is strongly recommended that an implementation supports at least up to
// 32 logs, 32 witnesses, and 32 groups."
func TestPolicySize(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "log {log l%d} https://l%d.example/\n", i, i)
		fmt.Fprintf(&b, "witness w%d {pq w%d}\nwitness e%d {wit w%d}\ngroup g%d any w%d e%d\n", i, i, i, i, i, i, i)
	}
	b.WriteString("group q 33")
	for i := range 40 {
		fmt.Fprintf(&b, " g%d", i)
	}
	b.WriteString("\nquorum q\n")
	p := parsePolicy(t, b.String())
	if len(p.Logs) != 40 || len(p.Witnesses) != 80 || len(p.Warnings()) != 0 {
		t.Fatalf("%d logs, %d witnesses, warnings %q", len(p.Logs), len(p.Witnesses), p.Warnings())
	}
	cosigned := map[string]bool{}
	for i := range 40 {
		cosigned[fmt.Sprintf("w%d", i)] = true
		cosigned[fmt.Sprintf("e%d", i)] = true
		if got, want := p.QuorumMet(cosigned), i+1 >= 33; got != want {
			t.Errorf("%d organisations: quorum %v", i+1, got)
		}
	}
}

func TestQuorum(t *testing.T) {
	nested := `
witness X1 {wit X1}
witness X2 {wit X2}
witness X3 {wit X3}
group X-witnesses 2 X1 X2 X3
witness Y1 {wit Y1}
witness Y2 {wit Y2}
witness Y3 {wit Y3}
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`
	for _, c := range []struct {
		policy, cosigned string
		met              bool
	}{
		{"quorum none\n", "", true},
		{three + "quorum a\n", "", false},
		{three + "quorum a\n", "b c", false},
		{three + "quorum a\n", "a", true},
		{three + "group g 2 a b c\nquorum g\n", "b", false},
		{three + "group g 2 a b c\nquorum g\n", "b c", true},
		{three + "group g all a b c\nquorum g\n", "a b", false},
		{three + "group g all a b c\nquorum g\n", "a b c", true},
		{three + "group g any a b c\nquorum g\n", "", false},
		{three + "group g any a b c\nquorum g\n", "c", true},
		{three + "group g any a b c\nquorum g\n", "g", false}, // the name of a group is no cosignature
		{nested, "X1 X3 Y2", true},
		{nested, "X1 X2 X3", false},
		{nested, "X1 Y1 Y2 Y3", false},
		{nested, "X1 X2 Y1 stranger", true},
	} {
		p := parsePolicy(t, c.policy)
		cosigned := map[string]bool{}
		for _, name := range strings.Fields(c.cosigned) {
			cosigned[name] = true
		}
		if got := p.QuorumMet(cosigned); got != c.met {
			t.Errorf("%s of %s: %v", c.cosigned, p.Quorum(), got)
		}
		if p.NeedsWitnesses() == strings.HasSuffix(c.policy, "none\n") {
			t.Errorf("NeedsWitnesses of %q is %v", c.policy, p.NeedsWitnesses())
		}
	}
}

func TestWarnings(t *testing.T) {
	two := "witness a1 {wit org-a}\nwitness a2 {pq org-a}\nwitness b {wit org-b}\nwitness c {wit org-c}\n"
	renamedKey := vkey(t, "org-a", append([]byte{4}, make([]byte, 32)...))
	logs := "log {log l}\nlog {pq l}\nwitness l {pq l}\n"
	for name, c := range map[string]struct {
		policy string
		want   []string // each a part of one warning
	}{
		"no quorum":                  {two + "quorum none\n", nil},
		"one key":                    {two + "quorum a1\n", nil},
		"flat two of four":           {two + "group q 2 a1 a2 b c\nquorum q\n", []string{"a1, a2"}},
		"flat all":                   {two + "group q all a1 a2 b\nquorum q\n", nil},
		"all of choices":             {two + "group x any a1 b\ngroup y any a2 c\ngroup q all x y\nquorum q\n", []string{"a1, a2"}},
		"all, one of them a choice":  {two + "group x any a1 b\ngroup q all x a2 c\nquorum q\n", []string{"a1, a2"}},
		"all of demanding groups":    {two + "group x all a1 b\ngroup y all a2 c\ngroup q all x y\nquorum q\n", nil},
		"demanded by a threshold":    {two + "witness a3 " + renamedKey + "\ngroup x 2 a1 a3 b\ngroup q all x a2\nquorum q\n", []string{"a1, a3"}},
		"flat any":                   {two + "group q any a1 a2 b\nquorum q\n", nil},
		"joined":                     {two + "group a any a1 a2\ngroup q 2 a b c\nquorum q\n", nil},
		"joined, both demanded":      {two + "group a all a1 a2\ngroup q 2 a b c\nquorum q\n", nil},
		"joined deeper":              {two + "group a any a1 a2\ngroup i 1 a b\ngroup q 2 i c\nquorum q\n", nil},
		"split over two groups":      {two + "group x any a1 b\ngroup y any a2 c\ngroup q 2 x y\nquorum q\n", []string{"a1, a2"}},
		"split, but one suffices":    {two + "group x any a1 b\ngroup y any a2 c\ngroup q any x y\nquorum q\n", nil},
		"outside the quorum":         {two + "group x 2 a1 a2 b\nquorum c\n", nil},
		"log demanded beside":        {two + logs + "group w any b c\ngroup q all w l\nquorum q\n", nil},
		"log in place of a witness":  {two + logs + "group q 2 l b c\nquorum q\n", []string{"the log's own key l"}},
		"log below a threshold":      {two + logs + "group x all l b\ngroup q any x c\nquorum q\n", []string{"the log's own key l"}},
		"two organisations doubled":  {two + "witness b2 {pq org-b}\ngroup q 3 a1 a2 b b2 c\nquorum q\n", []string{"a1, a2", "b, b2"}},
		"same witness name for logs": {"log {log l}\nwitness a {wit org-a}\nquorum a\n", nil},
	} {
		got := parsePolicy(t, c.policy).Warnings()
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(got[i], w) {
				t.Errorf("%s: %q does not tell %q", name, got[i], w)
			}
		}
	}
}

func TestPolicyVerify(t *testing.T) {
	text := sample.Text()
	log1 := newSigner(t, sample.Origin, checkpoint.AlgEd25519)
	log1pq := newSigner(t, sample.Origin, checkpoint.AlgMLDSA44)
	other := newSigner(t, "other.example", checkpoint.AlgEd25519)
	a, a2 := newSigner(t, "a", checkpoint.AlgCosignEd25519), newSigner(t, "a", checkpoint.AlgMLDSA44)
	b := newSigner(t, "b", checkpoint.AlgCosignEd25519)
	stranger := newSigner(t, "stranger", checkpoint.AlgCosignEd25519)
	policy := parsePolicy(t, fmt.Sprintf(`
log {log other.example}
log {log %s}
log {pq %s}
witness a-ed {wit a}
witness a-pq {pq a}
witness b {wit b}
group a any a-ed a-pq
group q all a b
quorum q
`, sample.Origin, sample.Origin))
	forged := func(s *checkpoint.Signer) []byte {
		l, err := s.Sign(checkpoint.Checkpoint{Origin: sample.Origin, Size: 1}.Text(), unix)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, c := range map[string]struct {
		note      []byte
		err       error
		logs, cos int // with a Verified
	}{
		"all":                       {sign(t, text, log1, log1pq, a, a2, b), nil, 2, 3},
		"enough, Ed25519":           {sign(t, text, log1, a, b), nil, 1, 2},
		"enough, ML-DSA-44":         {sign(t, text, log1pq, a2, b), nil, 1, 2},
		"strangers":                 {sign(t, text, stranger, log1, a, b), nil, 1, 2},
		"other log signs also":      {sign(t, text, log1, other, a, b), nil, 1, 2},
		"witness twice":             {sign(t, text, log1, a, a, b), nil, 1, 3},
		"one organisation twice":    {sign(t, text, log1, a, a2), checkpoint.ErrQuorum, 1, 2},
		"one witness":               {sign(t, text, log1, b), checkpoint.ErrQuorum, 1, 1},
		"no witness":                {sign(t, text, log1), checkpoint.ErrQuorum, 1, 0},
		"witness unknown":           {sign(t, text, log1, a, stranger), checkpoint.ErrQuorum, 1, 1},
		"no log":                    {sign(t, text, a, a2, b), checkpoint.ErrUnsigned, 0, 0},
		"nobody known":              {sign(t, text, stranger), checkpoint.ErrUnsigned, 0, 0},
		"another log's key":         {sign(t, text, other, a, b), checkpoint.ErrOrigin, 0, 0},
		"forged log signature":      {checkpoint.Join(text, forged(log1), sign(t, text, a, b)[len(text)+1:]), checkpoint.ErrBadSignature, 0, 0},
		"forged witness signature":  {checkpoint.Join(text, sign(t, text, log1, a, b)[len(text)+1:], forged(a2)), checkpoint.ErrBadSignature, 0, 0},
		"not a note":                {[]byte(text), checkpoint.ErrMalformed, 0, 0},
		"not a checkpoint":          {[]byte(exampleNote), checkpoint.ErrMalformed, 0, 0},
		"changed after signing":     {[]byte(strings.Replace(string(sign(t, text, log1, a, b)), "\n20852163\n", "\n20852164\n", 1)), checkpoint.ErrBadSignature, 0, 0},
		"extension added":           {[]byte(strings.Replace(string(sign(t, text, log1, a, b)), "\n\n", "\nx\n\n", 1)), checkpoint.ErrBadSignature, 0, 0},
		"signatures of another log": {sign(t, checkpoint.Checkpoint{Origin: "x", Size: 1}.Text(), log1, a, b), checkpoint.ErrOrigin, 0, 0},
	} {
		v, err := policy.Verify(c.note)
		if !errors.Is(err, c.err) || (v != nil) != (c.err == nil || c.err == checkpoint.ErrQuorum) {
			t.Errorf("%s: %v, %v", name, v, err)
			continue
		}
		if v == nil {
			continue
		}
		if len(v.LogKeys) != c.logs || len(v.Cosignatures) != c.cos || v.Size != sample.Size || string(v.Note) != string(c.note) {
			t.Errorf("%s: %d log keys, %d cosignatures", name, len(v.LogKeys), len(v.Cosignatures))
		}
		for _, s := range v.Cosignatures {
			if s.Time != unix {
				t.Errorf("%s: cosigned at %d", name, s.Time)
			}
		}
	}
}

// An ML-DSA-44 signature does not cover extension lines.
func TestExtensionsSigned(t *testing.T) {
	policy := parsePolicy(t, fmt.Sprintf("log {log %s}\nlog {pq %s}\nquorum none\n", sample.Origin, sample.Origin))
	ed, pq := newSigner(t, sample.Origin, checkpoint.AlgEd25519), newSigner(t, sample.Origin, checkpoint.AlgMLDSA44)
	c := sample
	c.Extensions = []string{"x"}
	for _, k := range []struct {
		signers []*checkpoint.Signer
		want    bool
	}{{[]*checkpoint.Signer{ed, pq}, true}, {[]*checkpoint.Signer{ed}, true}, {[]*checkpoint.Signer{pq}, false}} {
		v, err := policy.Verify(sign(t, c.Text(), k.signers...))
		if err != nil || v.ExtensionsSigned() != k.want {
			t.Errorf("%v: %v", k.signers, err)
		}
	}
	stripped := strings.Replace(string(sign(t, c.Text(), pq)), "\nx\n", "\n", 1)
	if _, err := policy.Verify([]byte(stripped)); err != nil {
		t.Errorf("ML-DSA-44 covers extension lines after all: %v", err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(expand(f, "log {log l} https://l.example/\n"+three+"group g 2 a b\ngroup h any g c\nquorum h\n")))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := checkpoint.ParsePolicy(b)
		if err != nil {
			return
		}
		p.Warnings()
		all, none := map[string]bool{}, map[string]bool{}
		for _, w := range p.Witnesses {
			all[w.Name] = true
		}
		// Everybody is enough and nobody is not.
		if !p.QuorumMet(all) || p.QuorumMet(none) == p.NeedsWitnesses() {
			t.Fatalf("quorum %s of %q", p.Quorum(), b)
		}
		// The lines, read by the simplest means, hold the keys and URLs that
		// were understood, and without comments and spare spaces mean the same.
		var plain, logs, witnesses []string
		for _, l := range strings.Split(string(b), "\n") {
			items := strings.Split(strings.ReplaceAll(l, "\t", " "), " ")
			items = slices.DeleteFunc(items, func(i string) bool { return i == "" })
			if len(items) == 0 || items[0][0] == '#' {
				continue
			}
			plain = append(plain, strings.Join(items, " "))
			switch items[0] {
			case "log":
				logs = append(logs, strings.Join(items[1:], " "))
			case "witness":
				witnesses = append(witnesses, strings.Join(items[1:], " "))
			}
		}
		for i, l := range p.Logs {
			if got := strings.TrimSuffix(l.Key.VKey()+" "+l.URL, " "); len(logs) != len(p.Logs) || got != logs[i] {
				t.Fatalf("log %q of %q", got, b)
			}
		}
		for i, w := range p.Witnesses {
			if got := strings.TrimSuffix(w.Name+" "+w.Key.VKey()+" "+w.URL, " "); len(witnesses) != len(p.Witnesses) || got != witnesses[i] {
				t.Fatalf("witness %q of %q", got, b)
			}
		}
		again, err := checkpoint.ParsePolicy([]byte(strings.Join(plain, "\n") + "\n"))
		if err != nil || again.Quorum() != p.Quorum() {
			t.Fatalf("%q means something else without its comments: %v", b, err)
		}
	})
}
