//go:build !amd64 || purego

package lanes

import "golang.org/x/mod/sumdb/tlog"

// Sum puts the SHA-256 of each message into sums, which must not be shorter.
func Sum(sums []tlog.Hash, messages [][]byte) { sumEach(sums, messages) }
