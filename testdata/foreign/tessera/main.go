// Command tessera keeps a small log with Tessera's POSIX driver: a foreign log for our witnesses to cosign.
//
//	tessera keygen --name ORIGIN --out DIR          writes DIR/skey and DIR/vkey
//	tessera append --dir DIR --skey FILE [--policy FILE] --entries N
//
// append adds N entries to the log in DIR (made when absent), waits until a checkpoint covers them all that
// meets the policy, and prints its size. A checkpoint below quorum is not published, so append then fails.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tessera: FAILED:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("give keygen or append")
	}
	switch args[0] {
	case "keygen":
		return keygen(args[1:])
	case "append":
		return add(args[1:])
	default:
		return fmt.Errorf("unknown command %q: give keygen or append", args[0])
	}
}

func keygen(args []string) error {
	fs := flag.NewFlagSet("keygen", flag.ContinueOnError)
	name := fs.String("name", "", "the log's origin")
	out := fs.String("out", "", "directory for skey and vkey")
	if err := fs.Parse(args); err != nil {
		return err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, *name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*out, "skey"), []byte(skey), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "vkey"), []byte(vkey), 0o644)
}

func add(args []string) error {
	fs := flag.NewFlagSet("append", flag.ContinueOnError)
	dir := fs.String("dir", "", "the log's directory")
	skeyFile := fs.String("skey", "", "file with the log's private key")
	policyFile := fs.String("policy", "", "tlog-policy whose quorum must be met before a checkpoint is published")
	entries := fs.Int("entries", 1, "how many entries to append")
	wait := fs.Duration("wait", time.Minute, "how long to wait for publication")
	if err := fs.Parse(args); err != nil {
		return err
	}
	skey, err := os.ReadFile(*skeyFile)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *wait)
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: *dir})
	if err != nil {
		return err
	}
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(uint(*entries), 100*time.Millisecond).
		WithCheckpointInterval(200 * time.Millisecond).
		WithShutdownTimeout(*wait)
	if *policyFile != "" {
		text, err := os.ReadFile(*policyFile)
		if err != nil {
			return err
		}
		group, err := tessera.NewWitnessGroupFromPolicy(text)
		if err != nil {
			return fmt.Errorf("parsing %s: %w", *policyFile, err)
		}
		opts.WithWitnesses(group, &tessera.WitnessOptions{Timeout: *wait})
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		return err
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	futures := make([]tessera.IndexFuture, *entries)
	for i := range futures {
		futures[i] = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "foreign entry %d of %d, %d", i, *entries, time.Now().UnixNano())))
	}
	for i, f := range futures {
		if _, _, err := await.Await(ctx, f); err != nil {
			return fmt.Errorf("waiting for entry %d to be published: %w", i, err)
		}
	}
	if err := shutdown(ctx); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	signed, err := reader.ReadCheckpoint(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	lines := strings.SplitN(string(signed), "\n", 3)
	fmt.Printf("tessera: published a checkpoint of size %s\n", lines[1])
	return nil
}
