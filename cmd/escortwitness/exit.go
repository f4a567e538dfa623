package main

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/witness"
	"github.com/escortlog/escortlog/witness/journal"
)

// Exit codes of every command. Scripts depend on them; they never change.
const (
	exitFindings    = 1 // conformance: the witness does not do what it must
	exitIntegrity   = 2 // the witness's memory is damaged
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
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// codeOf returns the exit code for an error of a command that has begun to run.
func codeOf(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, journal.ErrCorrupt):
		return exitIntegrity
	case errors.Is(err, witness.ErrNoWitness), errors.Is(err, witness.ErrExists), errors.Is(err, witness.ErrOtherLog):
		return exitUsage
	}
	return exitUnavailable
}
