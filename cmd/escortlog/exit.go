package main

import (
	"errors"
	"fmt"
)

// Exit codes of every command. Scripts depend on them; they never change.
const (
	exitFindings    = 1 // findings, or a refused event on submit
	exitIntegrity   = 2 // integrity failure or unmet quorum
	exitIncomplete  = 3 // completeness was not proven
	exitUsage       = 4 // the command line, a configuration value or an input file is wrong
	exitUnavailable = 5 // a server or a file system did not do what it was asked
)

// exitError carries the code with which the process ends beside the error that
// is printed. Only main turns it into an exit.
type exitError struct {
	code int
	err  error // nil: everything has been said already, print nothing
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withCode gives err the exit code, and nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

// usageErrorf is an error about how the command was called.
func usageErrorf(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// codeOf is the exit code for an error of a command that has begun to run.
// An error that carries no code is one of the surroundings (a disk, a network).
func codeOf(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	}
	return exitUnavailable
}
