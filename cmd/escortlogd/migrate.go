package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/spf13/cobra"
)

type migrateOptions struct {
	data  dataDir
	to    string
	guard string
}

func newMigrateCommand() *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate --data OLD --to NEW",
		Short: "Move the log into a new data directory, and prove it",
		Long: `Copies the log into the directory NEW, which must be empty: to another disk, or to a
store without what has gathered in the old one. Every leaf is hashed on the way,
the root must be that of the old store, and then the new one is checked as fsck
does. Keys, published checkpoint and evidence come along.

At the end the log lives in NEW: its guard is there, and the one of OLD says so, and
lets nothing start in OLD any more. Nothing else in OLD is changed. Until then, and
when anything fails, the log lives in OLD. The log must not be running.

Start it with serve --data NEW. When it has run for a while, remove OLD. To go back
before the first start in NEW, run "restore --adopt --data OLD" and remove NEW; after
it, OLD is an old state of the log and must never run again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.to == "" {
				return usageErrorf("give --to NEW, the directory in which the log is to live")
			}
			return o.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	o.data.addFlags(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "empty or new `directory` for the log")
	cmd.Flags().StringVar(&o.guard, "to-guard", "", "guard `file` of the moved log, best on another disk (default guard in NEW)")
	config.CommandLineOnly(cmd, "to", "to-guard")
	return cmd
}

func (o *migrateOptions) run(ctx context.Context, stderr io.Writer) (err error) {
	signers, err := o.data.signers()
	if err != nil {
		return err
	}
	old, err := o.data.open(signers[0].Verifier().Name(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	to := &dataDir{dir: o.to, guard: o.guard}
	if err := o.outside(); err != nil {
		return err
	}
	if err := makeEmptyDir(to.dir); err != nil {
		return err
	}
	// The last step but none: what fails before it leaves the log where it is.
	moved := false
	defer func() {
		if !moved {
			err = errors.Join(err, clearDir(to.dir))
		}
	}()
	if err := copyKeys(&o.data, to); err != nil {
		return err
	}
	head, err := copyStore(ctx, old, to)
	if err != nil {
		return err
	}
	if err := o.verify(ctx, old, to, head); err != nil {
		return err
	}
	if err := old.guard.MoveGuard(to.guardFile(), to.dir); err != nil {
		// Which of the two guards counts is unknown: both directories stay.
		moved = true
		return fmt.Errorf("moving the guard: %w. Run restore --adopt, with --data %s, to go on where the log was, and then remove %s", err, o.data.dir, to.dir)
	}
	moved = true
	fmt.Fprintf(stderr, "the log %q of size %d lives in %s now, with its guard %s. Nothing starts in %s any more; remove it when the log has run here for a while\n",
		signers[0].Verifier().Name(), head.Size, to.dir, to.guardFile(), o.data.dir)
	return nil
}

// outside refuses a target within what is to be removed later.
func (o *migrateOptions) outside() error {
	inside, err := o.data.holds(o.to)
	if err != nil {
		return usageErrorf("--to: %w", err)
	}
	if inside {
		return usageErrorf("--to %s lies in %s, which is of no use once the log has moved: give a directory beside it", o.to, o.data.dir)
	}
	return nil
}

// copyKeys copies the log's keys and, where there is one, a trial's administrator.
func copyKeys(from, to *dataDir) error {
	if err := os.Mkdir(to.keys(), 0o700); err != nil {
		return err
	}
	for _, f := range signerFiles {
		text, err := os.ReadFile(filepath.Join(from.keys(), f.name))
		if err != nil {
			return err
		}
		if err := createFile(filepath.Join(to.keys(), f.name), text); err != nil {
			return err
		}
	}
	admin, err := os.ReadFile(from.adminKey())
	if err == nil {
		err = createFile(to.adminKey(), admin)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDirs(to.keys(), to.dir)
}

func copyStore(ctx context.Context, old *opened, to *dataDir) (head log.Head, err error) {
	store, err := badger.Open(to.db(), badger.Options{})
	if err != nil {
		return head, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return log.Migrate(ctx, log.MigrateConfig{From: old.store, To: store, Guard: old.guard, Identify: event.Identify, Progress: progress(os.Stderr)})
}

// verify opens what was written anew and proves it.
func (o *migrateOptions) verify(ctx context.Context, old *opened, to *dataDir, head log.Head) (err error) {
	signers, err := to.signers()
	if err != nil {
		return err
	}
	store, err := badger.Open(to.db(), badger.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report, err := log.Check(ctx, log.CheckConfig{
		Store: store, Guard: old.guard, Origin: signers[0].Verifier().Name(), Keys: verifiers(signers),
		Identify: event.Identify, Progress: progress(os.Stderr),
	})
	if err != nil {
		return fmt.Errorf("checking the new store: %w", err)
	}
	if report.Head != head {
		return fmt.Errorf("the new store has the head %+v, the old one %+v", report.Head, head)
	}
	return syncDirs(to.db(), to.dir)
}
