//go:build ignore

// This program writes testdata: go generate ./cmd/internal/vectors.
package main

import (
	"fmt"
	"os"

	"github.com/escortlog/escortlog/cmd/internal/vectors"
)

func main() {
	if err := vectors.Write("../../../testdata"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
