// Escortlog-demo runs a transparency log, three witnesses, submitting sources
// and an auditor in one process, over real HTTP and real data directories, and
// then plays the operator who rewrites history.
//
// Each scene is a file, scene_*.go, and says in plain words what happens. Every
// claim it prints has been checked in code: when an attack is not caught, or is
// caught by somebody else than the demo says, it exits with 1.
//
//	go run ./cmd/escortlog-demo            the tour, which ends by itself
//	go run ./cmd/escortlog-demo --stay     the same, and the log stays up afterwards
//	go run ./cmd/escortlog-demo --keep DIR leaves everything in DIR
package main
