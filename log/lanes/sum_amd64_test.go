//go:build !purego

package lanes

import "golang.org/x/mod/sumdb/tlog"

func init() {
	if hasSixteen {
		ways["sixteen lanes"] = func(sums []tlog.Hash, messages [][]byte) { sumInLanes(make([]lane, 16), sums, messages) }
	}
	if hasTwo {
		ways["two lanes"] = func(sums []tlog.Hash, messages [][]byte) { sumInLanes(make([]lane, 2), sums, messages) }
	}
}
