package entry_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/entry"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

func TestPAE(t *testing.T) {
	for _, typ := range []string{"", entry.PayloadType, "http://example.com/HelloWorld"} {
		for _, payload := range []string{"", "hello world", strings.Repeat("é\x00", 5000)} {
			if got, want := entry.PAE(typ, []byte(payload)), dsse.PAE(typ, []byte(payload)); !bytes.Equal(got, want) {
				t.Errorf("%.60q, not %.60q", got, want)
			}
		}
	}
}
