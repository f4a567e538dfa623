// Package crash ends a program that panics with an exit code that says no more than
// that it did not get to its end.
//
// The Go runtime ends it with 2, which scripts read as "the integrity failed". What
// cannot be caught still does: a panic in another goroutine than that which defers
// [Exit], and what the runtime itself gives up at, as no memory or two writers of one map.
package crash

import (
	"fmt"
	"os"
	"runtime/debug"
)

// Exit is to be deferred before anything else. After a panic it prints what happened,
// and the stack, on standard error, and ends the process with code.
func Exit(program string, code int) {
	if p := recover(); p != nil {
		fmt.Fprintf(os.Stderr, "%s: a defect of this program, which proves and refutes nothing; please report it. panic: %v\n\n%s",
			program, p, debug.Stack())
		os.Exit(code)
	}
}
