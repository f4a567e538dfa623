package main

import "os"

func main() {
	started := new(bool)
	os.Exit(run(newRootCommand(started), started, os.Args[1:]))
}
