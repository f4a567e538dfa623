package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitUsage is the exit code for a command line that makes no sense.
const exitUsage = 4

// options are what the command line says.
type options struct {
	stay   bool
	keep   string
	listen string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("escortlog-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.stay, "stay", false, "keep the honest log and its witnesses running after the tour, until interrupted")
	flags.StringVar(&o.keep, "keep", "", "new or empty `directory` in which everything is left behind")
	flags.StringVar(&o.listen, "listen", "", "`address` of the log; the witnesses take the ports behind it\n(default: free ports; with --stay 127.0.0.1:8080, or free ports where that is taken)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "escortlog-demo takes no arguments, and was given %q\n", flags.Args())
		return exitUsage
	}
	p := &printer{w: stdout, styled: styled(stdout)}
	if err := play(ctx, o, p); err != nil {
		fmt.Fprintln(stderr, "escortlog-demo:", err)
		return 1
	}
	return 0
}

// styled reports whether w is a terminal that may be sent control codes.
func styled(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
