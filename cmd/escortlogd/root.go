package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/escortlog/escortlog/cmd/internal/crash"
	"github.com/spf13/cobra"
)

// run executes one command line and returns the exit code. The first interrupt
// ends the command's context, so that it shuts down in good order; the second
// kills the process, and so does a panic.
func run(root *cobra.Command, args []string) int {
	defer crash.Exit("escortlogd", exitUnavailable)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	started := markStart(root)
	root.SetArgs(args)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "escortlogd: %v\n", err)
	if !*started { // an unknown command or flag, a missing argument
		return exitUsage
	}
	return codeOf(err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "escortlogd",
		Short: "Run a transparency log of escorted access",
		Long: `escortlogd keeps a transparency log: it takes signed events over HTTP, keeps them
in a Merkle tree, has its checkpoints cosigned by witnesses, and serves it all as
c2sp.org/tlog-tiles. Nobody needs to believe it; see "escortlog audit".

Flags that say how things stand can be given as a variable, too (--listen as
ESCORTLOG_LISTEN; several values separated by commas), or in a YAML file named by
--config or ESCORTLOG_CONFIG; those that say what is to be done this once (init
--origin, recover --from) cannot. A flag wins over a variable, a variable over the
file.

Exit codes:
  0  done, or shut down as asked
  2  the log is damaged, or not the newest state of itself
  4  the command line, the configuration or an input file is wrong
  5  the file system, the network or another process stood in the way`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: loadSettings,
	}
	root.PersistentFlags().String("config", "", "YAML `file` with values for flags")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newInitCommand(),
		newServeCommand(),
		newVKeysCommand(),
		newFsckCommand(),
		newEvidenceCommand(),
		newBackupCommand(),
		newRestoreCommand(),
		newRecoverCommand(),
		newMigrateCommand(),
	)
	return root
}

// markStart wraps every command so that run can tell an error about the command
// line from one of the work itself.
func markStart(root *cobra.Command) *bool {
	started := new(bool)
	for _, c := range root.Commands() {
		if work := c.RunE; work != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				*started = true
				return work(cmd, args)
			}
		}
	}
	return started
}
