package listenfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"an address":         {"127.0.0.1:8080\n", true},
		"an IPv6 address":    {"[::1]:8080\n", true},
		"nothing":            {"", true},
		"a policy":           {"log example.org+0011+AAAA\nquorum none\n", false},
		"an unfinished line": {"127.0.0.1:8080", false},
		"two lines":          {"127.0.0.1:8080\n127.0.0.1:8081\n", false},
		"much":               {strings.Repeat("x", 1<<20) + ":1\n", false},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "_"))
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(filepath.Join(dir, "new")); err != nil {
		t.Errorf("a new file: %v", err)
	}
	if err := Check(dir); err == nil {
		t.Error("a directory may be replaced")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := Check(link); err == nil {
		t.Error("what a link leads to may be anything")
	}
}
