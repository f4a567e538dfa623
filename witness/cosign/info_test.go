package cosign

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"
)

// What a mirror says of itself is taken only if it is three lines of two numbers and a ticket.
func FuzzMirrorInfo(f *testing.F) {
	for _, seed := range []string{
		"20852163\n20852014\ndGlja2V0\n", "0\n0\n\n", "1\n2\n\n\n", "-1\n2\n\n", "9223372036854775808\n0\n\n", "1\n2\n*\n", "1\n2", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &copies{next: -1}
		told, err := c.learn(body)
		if err != nil {
			if c.next != -1 || c.ticket != nil {
				t.Error("something was learnt from an error")
			}
			return
		}
		if told.size < 0 || told.next < 0 || len(told.ticket) > 1<<16-1 {
			t.Errorf("%q: %+v", body, told)
		}
		again := fmt.Appendf(nil, "%d\n%d\n%s\n", told.size, told.next, base64.StdEncoding.EncodeToString(told.ticket))
		if !bytes.Equal(again, body) {
			t.Errorf("%q was read, which is written %q", body, again)
		}
	})
}
