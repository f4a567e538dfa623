package main

import (
	"fmt"
	"os"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/spf13/cobra"
)

func newBackupCommand() *cobra.Command {
	var (
		data dataDir
		from source
		to   string
		all  bool
	)
	cmd := &cobra.Command{
		Use:   "backup --data DIR --log URL --to COPY",
		Short: "Copy the running log, what is new since the last time",
		Long: `Brings the directory COPY up to the checkpoint that the running log publishes. Only
what is new since the last time is read; every new leaf is hashed on top of what
COPY holds and the root compared with the signed one, so COPY is always a whole log
that a checkpoint commits to. It holds the files of a tiled log
(c2sp.org/tlog-tiles): any client reads it where it is served.

The log's keys and the guard are not in it. Keep a copy of DIR/keys somewhere safe,
once, and never one of the guard: it must not be put back.

With --check all that COPY holds is read and hashed again, and files that are missing
or damaged are made anew. Do it now and then: disks forget.

"restore --from COPY" makes a log of it again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from.from == "" || to == "" {
				return usageErrorf("give --log URL, where the log is served, and --to COPY, the directory for the copy")
			}
			signers, err := data.signers()
			if err != nil {
				return err
			}
			inside, err := data.holds(to)
			if err != nil {
				return usageErrorf("--to: %w", err)
			}
			if inside {
				return usageErrorf("--to %s lies in %s, and would be lost with it: give a directory elsewhere", to, data.dir)
			}
			if info, err := os.Stat(to); err == nil && !info.IsDir() {
				return usageErrorf("--to %s is no directory", to)
			}
			f, err := from.fetcher()
			if err != nil {
				return err
			}
			note, cp, err := from.checkpoint(cmd.Context(), f, verifiers(signers))
			if err != nil {
				return err
			}
			healed := func(path string) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s was missing or damaged, and is made anew\n", path)
			}
			if err := log.Backup(cmd.Context(), log.BackupConfig{Dir: to, Note: note, Target: cp, Bundle: bundles(f),
				Check: all, Healed: healed, Progress: progress(os.Stderr)}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s holds the log %q up to size %d, root %v\n", to, cp.Origin, cp.Size, cp.Root)
			return nil
		},
	}
	data.addFlags(cmd)
	from.addFlags(cmd, "log", "`URL` of the running log")
	cmd.Flags().StringVar(&to, "to", "", "`directory` for the copy")
	cmd.Flags().BoolVar(&all, "check", false, "read all of the copy again, and make anew what is missing or damaged")
	config.CommandLineOnly(cmd, "to", "check")
	return cmd
}

func verifiers(signers []*checkpoint.Signer) []*checkpoint.Verifier {
	keys := make([]*checkpoint.Verifier, len(signers))
	for i, s := range signers {
		keys[i] = s.Verifier()
	}
	return keys
}
