package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/spf13/cobra"
)

type initOptions struct {
	data          dataDir
	origin        string
	admins        []string
	threshold     int
	allowUnsigned bool
	allowOpaque   bool
	successorOf   string
}

func newInitCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init --data DIR --origin NAME [--admin PUB.pem]...",
		Short: "Make a new log, once, on purpose",
		Long: `Makes the data directory of a new log: the log's own signing keys, and leaf 0,
which says for ever who administers the log and what it accepts. Prints the
log's verifier keys, Ed25519 first, and nothing else on standard output.

The origin is the name that every checkpoint bears; it should be the log's URL
without its scheme. Administrators decide together who may sign events; each
keeps a key of their own and gives only its public half here. Without --admin a
key is made in DIR/admin.key and the log is marked a trial: whoever holds such a
key can let in anybody, so a trial log proves nothing about who signed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signers, err := o.run(cmd.Context(), cmd)
			if err != nil {
				return err
			}
			if err := printVKeys(cmd.OutOrStdout(), signers); err != nil {
				return fmt.Errorf("the log is made, and its keys could not be printed: %w. Print them with escortlogd vkeys", err)
			}
			return nil
		},
	}
	o.data.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.origin, "origin", "", "`name` of the log, as log.example.org/2026")
	f.StringArrayVar(&o.admins, "admin", nil, "PEM `file` with an administrator's public key; repeat for each")
	f.IntVar(&o.threshold, "threshold", 0, "administrators who must sign to register keys and to change administrators (default a majority)")
	f.BoolVar(&o.allowUnsigned, "allow-unsigned", false, "accept unsigned events of sources that have no key, for ever")
	f.BoolVar(&o.allowOpaque, "allow-opaque", false, "accept events of types without a schema, for ever")
	f.StringVar(&o.successorOf, "successor-of", "", "`file` with the last cosigned checkpoint of a dead log that this one succeeds")
	config.CommandLineOnly(cmd, "origin", "admin", "threshold", "allow-unsigned", "allow-opaque", "successor-of")
	return cmd
}

// run makes the log. What was made before a failure is removed again, so that
// nobody mistakes half a log for one.
func (o *initOptions) run(ctx context.Context, cmd *cobra.Command) (signers []*checkpoint.Signer, err error) {
	if err := o.data.check(); err != nil {
		return nil, err
	}
	if o.origin == "" {
		return nil, usageErrorf("no origin: give --origin NAME, the name every checkpoint of this log will bear")
	}
	genesis, err := o.genesis()
	if err != nil {
		return nil, err
	}
	if err := makeEmptyDir(o.data.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clearDir(o.data.dir))
		}
	}()
	if genesis.Trial {
		admin, err := makeAdminKey(o.data.adminKey())
		if err != nil {
			return nil, err
		}
		genesis.Administrators = []event.Administrator{admin}
	}
	if signers, err = o.data.makeSigners(o.origin); err != nil {
		return nil, err
	}
	if err := o.create(ctx, genesis); err != nil {
		return nil, err
	}
	if genesis.Trial {
		fmt.Fprintf(cmd.ErrOrStderr(), "made %s: this is a trial log. Give --admin for one that others can rely on.\n", o.data.adminKey())
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "made the log %q in %s. Give the keys below to everybody who will verify it.\n", o.origin, o.data.dir)
	return signers, nil
}

// genesis gathers what leaf 0 will say, except the administrator of a trial.
func (o *initOptions) genesis() (event.Genesis, error) {
	g := event.Genesis{
		Origin: o.origin, Threshold: o.threshold,
		AllowUnsigned: o.allowUnsigned, AllowOpaque: o.allowOpaque, Trial: len(o.admins) == 0,
	}
	if o.threshold < 0 || o.threshold > max(1, len(o.admins)) {
		return g, usageErrorf("--threshold %d: there are %d administrators", o.threshold, max(1, len(o.admins)))
	}
	for _, path := range o.admins {
		text, err := os.ReadFile(path)
		if err != nil {
			return g, usageErrorf("--admin: %w", err)
		}
		key, err := event.ParsePublicKeyPEM(text)
		if err != nil {
			return g, usageErrorf("--admin %s: %w. Give the public key (PEM), never the private one", path, err)
		}
		g.Administrators = append(g.Administrators, event.Administrator{Key: key})
	}
	if o.successorOf != "" {
		p, err := predecessor(o.successorOf)
		if err != nil {
			return g, usageErrorf("--successor-of %s: %w", o.successorOf, err)
		}
		if p.Origin == o.origin {
			return g, usageErrorf("--origin %q is that of the log to be succeeded: a successor has a name of its own", o.origin)
		}
		g.Predecessor = p
	}
	return g, nil
}

// predecessor reads the last checkpoint of a dead log. Whether its signatures
// are good is for those who rely on the succession; the whole note goes into
// leaf 0 for them.
func predecessor(path string) (*event.Predecessor, error) {
	note, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, _, err := checkpoint.ParseNote(note)
	if err != nil {
		return nil, err
	}
	cp, err := checkpoint.Parse(text)
	if err != nil {
		return nil, err
	}
	return &event.Predecessor{Origin: cp.Origin, Size: cp.Size, Root: cp.Root, Checkpoint: string(note)}, nil
}

// create writes leaf 0, then the guard that remembers it.
func (o *initOptions) create(ctx context.Context, genesis event.Genesis) (err error) {
	var random [10]byte
	rand.Read(random[:])
	now := time.Now()
	payload, err := event.NewLogCreated(event.NewUUIDv7(now.UnixMilli(), random), now, genesis)
	if err != nil {
		return usageErrorf("leaf 0: %w", err)
	}
	ev, err := event.Parse(payload)
	if err != nil {
		return err
	}
	leaf, err := (&entry.Entry{Time: now.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	if err != nil {
		return usageErrorf("leaf 0: %w", err)
	}
	store, err := badger.Open(o.data.db(), badger.Options{})
	if err != nil {
		return err
	}
	head, err := log.Create(ctx, store, leaf, entry.Identity(ev.Source, ev.ID))
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	if err := syncDirs(o.data.db(), o.data.dir); err != nil {
		return err
	}
	guard, err := log.CreateGuard(o.data.guardFile(), o.data.dir, o.origin, head)
	if err != nil {
		return err
	}
	return guard.Close()
}

// makeAdminKey makes the administrator's key of a trial log.
func makeAdminKey(path string) (event.Administrator, error) {
	key, err := event.GenerateKey(event.Ed25519)
	if err != nil {
		return event.Administrator{}, err
	}
	text, err := event.MarshalPrivateKeyPEM(key)
	if err != nil {
		return event.Administrator{}, err
	}
	public, err := event.NewPublicKey(key.Public())
	if err != nil {
		return event.Administrator{}, err
	}
	return event.Administrator{Name: "trial", Key: public}, createFile(path, text)
}

// makeEmptyDir makes dir, durably, or accepts an empty one that is there already,
// as a mounted volume is.
func makeEmptyDir(dir string) error {
	if err := log.MakeDir(dir); err != nil && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return usageErrorf("--data: %w", err)
	}
	if len(entries) > 0 {
		return usageErrorf("%s is there already and not empty. A log is made once; give another directory", dir)
	}
	return nil
}

// clearDir removes what a failed init has made.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
