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
func run(root *cobra.Command, started *bool, args []string) int {
	defer crash.Exit("escortwitness", exitUnavailable)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root.SetArgs(args)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "escortwitness: %v\n", err)
	if !*started { // an unknown command or flag, a missing argument, a wrong setting
		return exitUsage
	}
	return codeOf(err)
}

// newRootCommand returns the command; started becomes true when the work of one begins.
func newRootCommand(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "escortwitness",
		Short: "Run a transparency log witness",
		Long: `escortwitness runs a transparency log witness as c2sp.org/tlog-witness
describes it. From nothing to cosigning:

  escortwitness init --data DIR --name witness.example.org/1
  escortwitness add-log --data DIR 'LOG VKEY'...
  escortwitness serve --data DIR --listen 127.0.0.1:8081

Give the vkeys that init prints, and the URL, to the log's operator and to
whoever verifies.

Flags that say how things stand can be given as a variable, too (--listen as
ESCORTLOG_LISTEN), or in a YAML file named by --config or ESCORTLOG_CONFIG; those
that say what is to be done this once (init --name) cannot. A flag wins over a
variable, a variable over the file.

Exit codes:
  0  done, or shut down as asked
  1  conformance: the witness does not do what it must
  2  the witness's memory is damaged
  4  the command line, the configuration or an input file is wrong
  5  the file system, the network or another process stood in the way`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := loadSettings(cmd); err != nil {
				return err
			}
			*started = true
			return nil
		},
	}
	root.PersistentFlags().String("config", "", "YAML `file` with values for flags")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newInitCommand(),
		newAddLogCommand(),
		newRemoveLogCommand(),
		newListLogsCommand(),
		newServeCommand(),
		newVKeysCommand(),
		newEvidenceCommand(),
		newConformanceCommand(),
	)
	return root
}

// dataFlag adds --data, which every command but conformance needs.
func dataFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data", "", "`directory` of the witness")
}

func needData(dir string) error {
	if dir == "" {
		return usageErrorf("no directory: give --data DIR or set ESCORTLOG_DATA")
	}
	return nil
}
