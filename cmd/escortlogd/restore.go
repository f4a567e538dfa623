package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log"
	"github.com/spf13/cobra"
)

func newRestoreCommand() *cobra.Command {
	var (
		data  dataDir
		from  source
		adopt bool
	)
	cmd := &cobra.Command{
		Use:   "restore --data DIR (--adopt | --from COPY)",
		Short: "Let the log live on in this place, or from a backup",
		Long: `With --adopt the guard is bound to this host and this place, on purpose, because the
log was moved and the original will never run again. The guard knows the host, the
file and the directory where its log lives, so that a copy does not start beside
the original: two logs that sign under one name are a fork, and nothing heals
that. What the guard remembers stays: an older copy of the store is still refused.
A missing guard is made anew from what the store holds.

With --from the store is made anew from a copy that "backup" filled. This is what
"recover" does, which also reads from a URL: every leaf is hashed, nothing is
signed, and a copy that ends before what the guard remembers is refused.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case adopt == (from.from != ""):
				return usageErrorf("say --adopt when the log was moved here and the original will never run again, or --from COPY to make it anew from a backup")
			case adopt:
				return adoptHere(cmd.Context(), &data, cmd.ErrOrStderr())
			}
			return recoverFrom(cmd.Context(), &data, &from, cmd.ErrOrStderr())
		},
	}
	data.addFlags(cmd)
	from.addFlags(cmd, "from", "`directory` or URL of the copy")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "bind the guard to this host and place")
	config.CommandLineOnly(cmd, "adopt")
	return cmd
}

func adoptHere(ctx context.Context, data *dataDir, stderr io.Writer) error {
	signers, err := data.signers()
	if err != nil {
		return err
	}
	origin := signers[0].Verifier().Name()
	store, err := data.openStore(nil)
	if err != nil {
		return err
	}
	head, err := log.ReadHead(ctx, store)
	if err = errors.Join(err, store.Close()); err != nil {
		return err
	}
	if err := log.AdoptGuard(data.guardFile(), data.dir, origin, head); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "the log %q of size %d lives in %s now, with its guard %s\n", origin, head.Size, data.dir, data.guardFile())
	return nil
}
