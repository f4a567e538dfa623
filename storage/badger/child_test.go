package badger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// The test binary runs itself as a child where a process has to die, or to lose
// its disk: childEnv names what the child does, on the directory in childDirEnv.
const (
	childEnv    = "ESCORTLOG_TEST_STORE_CHILD"
	childDirEnv = "ESCORTLOG_TEST_STORE_DIR"
)

var children = map[string]func(dir string) error{}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Getenv(childDirEnv)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts a child. It is killed when the test ends.
func child(t *testing.T, name, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// nextNumber reads the number on the next line.
func nextNumber(t *testing.T, lines *bufio.Scanner) int {
	t.Helper()
	if !lines.Scan() {
		t.Fatal("the child ended")
	}
	return number(t, lines)
}

func number(t *testing.T, lines *bufio.Scanner) int {
	t.Helper()
	n, err := strconv.Atoi(lines.Text())
	if err != nil {
		t.Fatalf("the child says %q", lines.Text())
	}
	return n
}
