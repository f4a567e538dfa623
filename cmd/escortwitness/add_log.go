package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness"
)

type addLogOptions struct {
	dir, origin, url, contact, list string
	qpd                             int64
	mirror                          bool
	access                          witness.Access
}

func newAddLogCommand() *cobra.Command {
	var o addLogOptions
	cmd := &cobra.Command{
		Use:   "add-log --data DIR VKEY... [--url URL]",
		Short: "Tell the witness of a log",
		Long: `Adds the keys of one log to the witness's log list. Each of them alone is then
enough to sign a checkpoint of that log. A running witness knows the log from its
next request on.

With --list, adds the logs of a list in the format of the witness network instead
("-" reads standard input): those whose key or origin is not listed yet. Logs that are
listed are neither changed nor removed, so whoever writes the list cannot undo
what was decided here.`,
		Example: `  escortwitness add-log --data DIR 'log.example.org+5a6b7c8d+AV…' --url https://log.example.org`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needData(o.dir); err != nil {
				return err
			}
			if o.list != "" {
				return o.addList(cmd, args)
			}
			return o.addKeys(cmd.ErrOrStderr(), args)
		},
	}
	dataFlag(cmd, &o.dir)
	f := cmd.Flags()
	f.StringVar(&o.origin, "origin", "", "the log's `origin`, if it is not the keys' name")
	f.StringVar(&o.url, "url", "", "`URL` of the log, for people, and for the mirror to read it")
	f.Int64Var(&o.qpd, "qpd", 0, "`number` of requests a day that the log may make; 0 leaves it to serve --rate")
	f.BoolVar(&o.mirror, "mirror", false, "let the mirror keep a full copy of the log")
	f.StringVar(&o.contact, "contact", "", "how to reach the log's operator")
	f.StringVar(&o.access.TokenFile, "token-file", "", "`file` with the bearer token the mirror reads the log with")
	f.StringVar(&o.access.CAFile, "ca-file", "", "PEM `file` of the authorities that vouch for the log to the mirror, instead of the system's")
	f.StringVar(&o.access.TLSCert, "tls-cert", "", "PEM `file` of the certificate the mirror reads the log with")
	f.StringVar(&o.access.TLSKey, "tls-key", "", "PEM `file` of the key of --tls-cert")
	f.StringVar(&o.list, "list", "", "add the logs of this log list `file`")
	config.CommandLineOnly(cmd, "origin", "url", "qpd", "mirror", "contact", "list", "token-file", "ca-file", "tls-cert", "tls-key")
	return cmd
}

func (o *addLogOptions) addKeys(stderr io.Writer, vkeys []string) error {
	if len(vkeys) == 0 {
		return usageErrorf("no key: give the log's vkey, or --list")
	}
	if err := o.checkAccess(); err != nil {
		return err
	}
	own, err := witness.VKeys(o.dir)
	if err != nil {
		return err
	}
	if o.mirror && len(own) < 4 {
		return usageErrorf("--mirror: this witness was made without a mirror (init --mirror-name)")
	}
	var entries []witness.LogEntry
	for _, s := range vkeys {
		v, err := checkpoint.ParseVKey(s)
		if err != nil {
			return usageErrorf("%w", err)
		}
		if slices.Contains(own, v.VKey()) {
			return usageErrorf("%s is this witness's own key; give the log's, as escortlogd vkeys prints them", v)
		}
		e := witness.LogEntry{Key: v, Origin: v.Name(), URL: o.url, Contact: o.contact, QPD: o.qpd, Mirror: o.mirror, Access: o.access}
		if o.origin != "" {
			e.Origin = o.origin
		}
		if e.Origin != entryOrigin(entries, e.Origin) {
			return usageErrorf("the keys are named %q and %q: give --origin if they are of one log, or add them one by one", entries[0].Origin, e.Origin)
		}
		entries = append(entries, e)
	}
	known, err := witness.AddLogs(o.dir, entries)
	if err != nil {
		return err
	}
	for _, e := range known {
		fmt.Fprintf(stderr, "%s is in the list already, and stays as it is\n", e.Key)
	}
	fmt.Fprintf(stderr, "%d keys of %q added\n", len(entries)-len(known), entries[0].Origin)
	return nil
}

// checkAccess makes the paths those that serve finds, wherever it is started.
func (o *addLogOptions) checkAccess() error {
	if o.access != (witness.Access{}) && (!o.mirror || o.url == "") {
		return usageErrorf("--token-file, --ca-file, --tls-cert and --tls-key are for the mirror to read the log: give --mirror and --url too")
	}
	if (o.access.TLSCert == "") != (o.access.TLSKey == "") {
		return usageErrorf("--tls-cert and --tls-key go together")
	}
	for _, path := range []*string{&o.access.TokenFile, &o.access.CAFile, &o.access.TLSCert, &o.access.TLSKey} {
		if *path == "" {
			continue
		}
		if _, err := os.Stat(*path); err != nil {
			return usageErrorf("%w", err)
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

// entryOrigin returns the origin of the entries so far, or the one to begin with.
func entryOrigin(entries []witness.LogEntry, origin string) string {
	if len(entries) == 0 {
		return origin
	}
	return entries[0].Origin
}

func (o *addLogOptions) addList(cmd *cobra.Command, args []string) error {
	if len(args) != 0 || o.origin != "" || o.url != "" || o.qpd != 0 || o.mirror || o.contact != "" || o.access != (witness.Access{}) {
		return usageErrorf("--list takes everything from the list: give no keys and no other flags")
	}
	var data []byte
	var err error
	if o.list == "-" {
		data, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), 16<<20))
	} else {
		data, err = os.ReadFile(o.list)
	}
	if err != nil {
		return usageErrorf("reading the list: %w", err)
	}
	entries, skipped, err := witness.ParseLogList(data)
	if err != nil {
		return usageErrorf("%s: %w", o.list, err)
	}
	for _, err := range skipped {
		fmt.Fprintf(cmd.ErrOrStderr(), "passed over: %v\n", err)
	}
	added, err := witness.AddNewLogs(o.dir, entries)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), strconv.Itoa(len(added))+" new logs added")
	return nil
}
