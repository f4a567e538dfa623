package badger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

func init() { children["load"] = childLoad }

// childLoad commits step after step, from where the store is, and says each
// number when it is acknowledged. Meanwhile it reclaims space without end.
func childLoad(dir string) error {
	s, err := badger.Open(dir, badger.Options{MinFree: 1, ReclaimAfter: -1})
	if err != nil {
		return err
	}
	n := 0
	if head, err := s.Get(context.Background(), storage.HeadKey); err == nil {
		if _, err := fmt.Sscanf(string(head), "head %d", &n); err != nil {
			return err
		}
	}
	failed := make(chan error, 1)
	go func() {
		for {
			if err := s.Reclaim(context.Background()); err != nil {
				failed <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for {
		select {
		case err := <-failed:
			return err
		default:
		}
		n++
		if err := s.Commit(context.Background(), step(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKill kills a process that commits and reclaims, again and again. What it
// acknowledged is there, and each commit wholly or not at all.
func TestKill(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	if n, err := strconv.Atoi(os.Getenv("ESCORTLOG_TEST_KILLS")); err == nil {
		rounds = n
	}
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(9, 10))
	n := 0
	for round := range rounds {
		cmd, lines := child(t, "load", dir)
		acknowledged := n
		for range 1 + rnd.IntN(60) {
			acknowledged = nextNumber(t, lines)
		}
		time.Sleep(time.Duration(rnd.IntN(5000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			acknowledged = number(t, lines)
		}
		_ = cmd.Wait()

		s := mustOpen(t, dir, small)
		got, err := content(s)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		switch got {
		case after(acknowledged):
			n = acknowledged
		case after(acknowledged + 1):
			n = acknowledged + 1
		default:
			t.Fatalf("round %d: after commit %d was acknowledged the store holds:\n%.2000s", round, acknowledged, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d commits", n)
}
