package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/escortlog/escortlog/cmd/internal/crash"
	"github.com/spf13/cobra"
)

// run executes one command line and returns the exit code. An interrupt ends
// the command's context, so that what was begun is closed in good order.
// A panic ends the process.
func run(root *cobra.Command, args []string) int {
	defer crash.Exit("escortlog", exitUnavailable)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	started := markStart(root)
	root.SetArgs(args)
	root.SetIn(os.Stdin)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var coded *exitError
	if !errors.As(err, &coded) || coded.err != nil {
		fmt.Fprintf(os.Stderr, "escortlog: %s\n", printable(err.Error()))
	}
	if !*started {
		// Nothing has run yet: an unknown command or flag, a missing argument.
		return exitUsage
	}
	return codeOf(err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "escortlog",
		Short: "Submit events to a transparency log, and prove what it holds",
		Long: `escortlog is the tool of those who write to an escortlog and of those who do not
trust it. It signs events and submits them, keeps receipts, verifies them
offline, replays whole logs, follows them, and shows what a verified log holds. It believes
nothing a server says.

Flags that say how things stand can be given as a variable, too (--log as
ESCORTLOG_LOG, --keep-going as ESCORTLOG_KEEP_GOING; several values separated by
commas), and most of them in a YAML file named by --config or ESCORTLOG_CONFIG;
those that say what is to be done this once (-o, verify --leaf) cannot.
A flag wins over a variable, a variable over the file.

Exit codes:
  0  everything was done or proven
  1  findings, or an event was refused
  2  integrity failure, or the quorum of the policy is not met
  3  completeness is not proven
  4  the command line, the configuration or an input file is wrong
  5  a server or the file system is unavailable
Where several apply, the first of 4, 5, 2, 1, 3.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: loadSettings,
	}
	root.PersistentFlags().String("config", "", "YAML `file` with values for flags (see \"escortlog help\")")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(commands()...)
	return root
}

// commands is the list of everything escortlog can do, in the order of its help.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newKeygenCommand(),
		newRegisterKeyCommand(),
		newRevokeKeyCommand(),
		newChangeAdminsCommand(),
		newRegisterSourceCommand(),
		newRetireSourceCommand(),
		newCosignCommand(),
		newPAECommand(),
		newSubmitCommand(),
		newAgentCommand(),
		newProofCommand(),
		newVerifyCommand(),
		newDiscloseCommand(),
		newAuditCommand(),
		newMonitorCommand(),
		newSessionCommand(),
		newChangeCommand(),
		newPersonCommand(),
		newSystemCommand(),
		newExportCommand(),
		newSampleCommand(),
		newReconcileCommand(),
		newImportCommand(),
		newSchemaCommand(),
	}
}

// markStart wraps every command so that run can tell an error about the command
// line from one of the work itself.
func markStart(root *cobra.Command) *bool {
	started := new(bool)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if work := c.RunE; work != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				*started = true
				return work(cmd, args)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return started
}
