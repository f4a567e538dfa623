package main

import (
	"errors"
	"fmt"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/spf13/cobra"
)

func newRestoreCommand() *cobra.Command {
	var data dataDir
	var adopt bool
	cmd := &cobra.Command{
		Use:   "restore --adopt --data DIR",
		Short: "Let the log live on in this place",
		Long: `The guard knows the host, the file and the directory where its log lives, so that
a copy does not start beside the original: two logs that sign under one name are
a fork, and nothing heals that. With --adopt the guard is bound to this host and
this place, on purpose, because the log was moved and the original will never run
again. What the guard remembers stays: an older copy of the store is still
refused. A missing guard is made anew from what the store holds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !adopt {
				return usageErrorf("say --adopt when the log was moved here and the original will never run again")
			}
			signers, err := data.signers()
			if err != nil {
				return err
			}
			origin := signers[0].Verifier().Name()
			store, err := badger.Open(data.db(), badger.Options{})
			if err != nil {
				return err
			}
			head, err := log.ReadHead(cmd.Context(), store)
			if err = errors.Join(err, store.Close()); err != nil {
				return err
			}
			if err := log.AdoptGuard(data.guardFile(), data.dir, origin, head); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "the log %q of size %d lives in %s now, with its guard %s\n", origin, head.Size, data.dir, data.guardFile())
			return nil
		},
	}
	data.addFlags(cmd)
	cmd.Flags().BoolVar(&adopt, "adopt", false, "bind the guard to this host and place")
	fromCommandLineOnly(cmd, "adopt")
	return cmd
}
