package subtree

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// emptyRoot is "the hash of an empty list": SHA-256 of nothing (RFC 6962 section 2.1).
var emptyRoot = tlog.Hash(sha256.Sum256(nil))
