// Package arch holds no program, only the test that keeps the repository's rooms apart: which package may reach
// which, what a pure package may not touch, and what may stand at the top level. It reads `go list`, so that it
// judges what the compiler would link and not what a comment says.
package arch
