package main

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/storage"
)

// Exit codes of every command. Scripts depend on them; they never change.
const (
	exitIntegrity   = 2 // the log is damaged, or is not the newest state of itself
	exitUsage       = 4 // the command line, the configuration or an input file is wrong
	exitUnavailable = 5 // the file system, the network or another process stood in the way
)

// exitError carries the code with which the process ends beside the error that
// is printed. Only main turns it into an exit.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageErrorf is an error about how the command was called.
func usageErrorf(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// codeOf returns the exit code for an error of a command that has begun to run.
func codeOf(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, log.ErrRollback),
		errors.Is(err, log.ErrGuardCorrupt), errors.Is(err, log.ErrGuardElsewhere), errors.Is(err, log.ErrNoGuard):
		return exitIntegrity
	}
	return exitUnavailable
}
