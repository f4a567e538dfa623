package main

import "os"

func main() {
	os.Exit(run(newRootCommand(), os.Args[1:]))
}
