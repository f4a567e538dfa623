package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/spf13/cobra"
)

func newRecoverCommand() *cobra.Command {
	var (
		data dataDir
		from source
	)
	cmd := &cobra.Command{
		Use:   "recover --data DIR --from URL",
		Short: "Heal a lost or rolled-back log from a copy that others kept",
		Long: `Makes the store anew from a copy of the log: a mirror, another server of its tiles, a
directory that "backup" filled. Nothing of the copy is believed: every leaf is
hashed, the root must be the one that this log itself signed, and the log must be
a continuation of what the guard remembers and of what the store still holds.
Nothing is signed and no leaf is made, so healing cannot fork.

DIR/keys must be there. The store that is replaced is kept beside the new one, as
DIR/db.replaced. If the copy ends before what the guard remembers, it is refused:
leaves would be lost that were acknowledged. At the next start every witness is
asked, as always, whether it remembers more.

Where DIR lacks everything but its keys, a new guard is made; then only the
witnesses can tell whether the copy is the newest.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from.from == "" {
				return usageErrorf("give --from URL, where a copy of the log is served, or --from DIRECTORY")
			}
			return recoverFrom(cmd.Context(), &data, &from, cmd.ErrOrStderr())
		},
	}
	data.addFlags(cmd)
	from.addFlags(cmd, "from", "`URL` or directory of the copy")
	return cmd
}

// recoverFrom rebuilds the store from a copy and puts it in place of the old
// one. Until the last step the old store is untouched; a crash anywhere leaves
// either store in place, or, for a moment between two renames, none, which every
// command refuses and recover mends.
func recoverFrom(ctx context.Context, data *dataDir, from *source, stderr io.Writer) (err error) {
	signers, err := data.signers()
	if err != nil {
		return err
	}
	origin := signers[0].Verifier().Name()
	f, err := from.fetcher()
	if err != nil {
		return err
	}
	_, target, err := from.checkpoint(ctx, f, verifiers(signers))
	if err != nil {
		return err
	}
	guard, err := log.OpenGuard(data.guardFile(), data.dir, origin)
	switch {
	case errors.Is(err, log.ErrNoGuard):
		fmt.Fprintln(stderr, "there is no guard: nothing on this host says how long the log was. The witnesses will be asked at the next start")
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, guard.Close()) }()
	}
	through, err := remembered(ctx, data, guard, target, stderr)
	if err != nil {
		return err
	}
	head, err := rebuild(ctx, data, log.RebuildConfig{
		Target: target, Bundle: bundles(f), Identify: event.Identify, Through: through, Progress: progress(os.Stderr),
	})
	if errors.Is(err, log.ErrNotTheLog) {
		return &exitError{code: exitIntegrity, err: err}
	}
	if err != nil {
		return err
	}
	if err := putInPlace(data); err != nil {
		return err
	}
	if guard == nil {
		if guard, err = log.CreateGuard(data.guardFile(), data.dir, origin, head); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, guard.Close()) }()
	}
	if err := guard.Advance(head); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "the log %q is whole again: size %d, root %v. What stood there before is in %s\n", origin, head.Size, head.Root, data.replaced())
	return nil
}

// remembered gathers the heads that the copy must continue. The old store is
// asked as far as it can still be read; a store that is already ahead of the
// copy needs no healing.
func remembered(ctx context.Context, data *dataDir, guard *log.FileGuard, target checkpoint.Checkpoint, stderr io.Writer) (through []log.Head, err error) {
	if guard != nil {
		through = append(through, guard.Head())
	}
	if _, err := os.Stat(data.db()); errors.Is(err, fs.ErrNotExist) {
		return through, nil
	}
	store, err := badger.Open(data.db(), badger.Options{})
	if errors.Is(err, badger.ErrInUse) {
		return nil, err
	}
	if err != nil {
		fmt.Fprintf(stderr, "the old store cannot be read, and is replaced as a whole: %v\n", err)
		return through, nil
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	head, err := log.ReadHead(ctx, store)
	switch {
	case errors.Is(err, log.ErrNoLog):
		return through, nil
	case errors.Is(err, storage.ErrCorrupt):
		fmt.Fprintf(stderr, "the old store is damaged, and is replaced as a whole: %v\n", err)
		return through, nil
	case err != nil:
		return nil, err
	case head.Size > target.Size:
		return nil, &exitError{code: exitIntegrity, err: fmt.Errorf("the store holds %d leaves and the copy %d: the copy is the older one. If the store is damaged, find a newer copy", head.Size, target.Size)}
	}
	return append(through, head), nil
}

func (d *dataDir) recovering() string { return d.db() + ".recovering" }
func (d *dataDir) replaced() string   { return d.db() + ".replaced" }

// rebuild makes the new store beside the old one.
func rebuild(ctx context.Context, data *dataDir, cfg log.RebuildConfig) (head log.Head, err error) {
	if err := os.RemoveAll(data.recovering()); err != nil { // of a try that broke off
		return head, err
	}
	store, err := badger.Open(data.recovering(), badger.Options{})
	if err != nil {
		return head, err
	}
	cfg.Store = store
	head, err = log.Rebuild(ctx, cfg)
	if err = errors.Join(err, store.Close()); err != nil {
		return head, errors.Join(err, os.RemoveAll(data.recovering()))
	}
	return head, syncDirs(data.recovering())
}

// putInPlace sets the old store aside. A try that broke off here has done so already:
// what stands there then is the old store.
func putInPlace(data *dataDir) error {
	_, err := os.Stat(data.db())
	if err == nil {
		err = errors.Join(os.RemoveAll(data.replaced()), os.Rename(data.db(), data.replaced()))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(data.recovering(), data.db()); err != nil {
		return err
	}
	return syncDirs(data.dir)
}
