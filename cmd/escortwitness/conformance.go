package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/witness/conformance"
	"github.com/escortlog/escortlog/witness/journal"
)

type conformanceOptions struct {
	url, monitoringURL, logKey string
	vkeys                      []string
	asJSON                     bool
}

func newConformanceCommand() *cobra.Command {
	var o conformanceOptions
	cmd := &cobra.Command{
		Use:   "conformance --log-key FILE --url URL --vkey VKEY...",
		Short: "Check any witness against the specifications, sentence by sentence",
		Long: `Asks a witness, over HTTP and nothing else, whether it does what
c2sp.org/tlog-witness, tlog-cosignature, tlog-checkpoint and signed-note say it must, and prints a
verdict for each sentence. The witness may be anybody's.

The witness must trust the logs that the suite plays. If FILE does not exist, the command
makes their keys, writes them there, prints the logs as a log list (format of the
witness network) and ends; configure the witness with these and call the
command again. Our own witness takes the list as it is:

  escortwitness conformance --log-key FILE > LIST
  escortwitness add-log --data DIR --list LIST
  escortwitness conformance --log-key FILE --url URL --vkey VKEY --vkey VKEY

The origin of each log is the name of its key. One log has two keys; one has an
ML-DSA-44 key and may be left out; one is to stay unused before the first run.

Exit code 1 says that a MUST failed; failed SHOULDs are printed only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "submission prefix of the witness")
	f.StringVar(&o.monitoringURL, "monitoring-url", "", "monitoring prefix, if it is another `URL`")
	f.StringArrayVar(&o.vkeys, "vkey", nil, "the witness's `vkey`; repeat for each")
	f.StringVar(&o.logKey, "log-key", "", "`file` with the private keys of the suite's logs; made if missing")
	f.BoolVar(&o.asJSON, "json", false, "print each verdict as a JSON object on a line")
	config.CommandLineOnly(cmd, "url", "monitoring-url", "vkey", "log-key", "json")
	return cmd
}

func (o *conformanceOptions) run(cmd *cobra.Command) error {
	if o.logKey == "" {
		return usageErrorf("no --log-key: give a file for the keys of the suite's logs, to be made if missing")
	}
	data, err := os.ReadFile(o.logKey)
	if errors.Is(err, fs.ErrNotExist) {
		return o.makeKeys(cmd)
	}
	if err != nil {
		return fmt.Errorf("reading the keys of the suite's logs: %w", err)
	}
	keys, err := conformance.ParseKeys(data)
	if err != nil {
		return usageErrorf("%s: %w", o.logKey, err)
	}
	if o.url == "" {
		_, err := io.WriteString(cmd.OutOrStdout(), keys.LogList())
		return err
	}
	if len(o.vkeys) == 0 {
		return usageErrorf("no --vkey: give each of the witness's vkeys, so that its cosignatures can be verified")
	}
	config := conformance.Config{URL: o.url, MonitoringURL: o.monitoringURL, Keys: keys}
	for _, s := range o.vkeys {
		v, err := checkpoint.ParseVKey(s)
		if err != nil {
			return usageErrorf("--vkey: %w", err)
		}
		config.Witness = append(config.Witness, v)
	}
	return o.check(cmd, config)
}

func (o *conformanceOptions) makeKeys(cmd *cobra.Command) error {
	keys, err := conformance.GenerateKeys()
	if err != nil {
		return err
	}
	if err := journal.WriteFile(o.logKey, keys.Marshal(), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "made %s; configure the witness with the logs of this list, then call this again with --url and --vkey\n", o.logKey)
	_, err = io.WriteString(cmd.OutOrStdout(), keys.LogList())
	return err
}

func (o *conformanceOptions) check(cmd *cobra.Command, config conformance.Config) error {
	out := cmd.OutOrStdout()
	tally := map[conformance.Verdict]int{}
	musts := 0
	_, err := conformance.Run(cmd.Context(), config, func(r conformance.Result) {
		tally[r.Verdict]++
		if r.Verdict == conformance.Fail && r.Level == conformance.Must {
			musts++
		}
		if o.asJSON {
			// A verdict always encodes; a closed standard output is noticed at the end.
			_ = json.NewEncoder(out).Encode(r)
			return
		}
		fmt.Fprintf(out, "%-4s  %-6s  %s\n", r.Verdict, r.Level, r.ID)
		if r.Verdict != conformance.Pass {
			fmt.Fprintf(out, "              %s\n", r.Detail)
		}
		if r.Verdict == conformance.Fail {
			fmt.Fprintf(out, "              %s: %s\n", r.Source, r.Sentence)
		}
	})
	if err != nil {
		return err
	}
	if !o.asJSON {
		fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", tally[conformance.Pass], tally[conformance.Fail], tally[conformance.Skip])
	}
	if musts > 0 {
		return &exitError{exitFindings, fmt.Errorf("%d MUSTs failed", musts)}
	}
	return nil
}
