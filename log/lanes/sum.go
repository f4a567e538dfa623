package lanes

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// sumEach is Sum by crypto/sha256.
func sumEach(sums []tlog.Hash, messages [][]byte) {
	for i, m := range messages {
		sums[i] = sha256.Sum256(m)
	}
}
