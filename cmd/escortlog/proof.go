package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/spf13/cobra"
)

type proofOptions struct {
	connection connection
	policy     string
	output     string
	leaf       string
	timeout    time.Duration
}

func newProofCommand() *cobra.Command {
	var o proofOptions
	cmd := &cobra.Command{
		Use:   "proof --log URL INDEX -o FILE.tlog-proof",
		Short: "Fetch a proof that a leaf is in a log",
		Long: `Builds the proof that leaf INDEX is in the log's present checkpoint, from nothing
but its checkpoint, hash tiles and entries, verifies it, and writes it as a
tlog-proof, which "escortlog verify" checks offline, for ever.

With --policy, the checkpoint must be signed by the log and cosigned as the
policy demands; otherwise nothing is written and the exit code is 2. Without a
policy nobody vouches for the checkpoint, and verify finds out.`,
		Example: `  escortlog proof --log https://log.example.org --policy policy.txt 7 -o 7.tlog-proof --leaf 7.leaf`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.connection.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", "", "tlog-policy `file` that the checkpoint must satisfy")
	f.StringVarP(&o.output, "output", "o", "", "`file` to write the proof to; - is standard output")
	f.StringVar(&o.leaf, "leaf", "", "`file` to write the leaf to as well")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for a busy log")
	config.CommandLineOnly(cmd, "output", "leaf")
	return cmd
}

func (o *proofOptions) run(cmd *cobra.Command, arg string) error {
	index, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || index < 0 {
		return usageErrorf("%q is not the index of a leaf: want a number from 0", arg)
	}
	if o.output == "" {
		return usageErrorf("no file to write the proof to: give -o FILE.tlog-proof")
	}
	if o.output != "-" {
		if err := mayReplace(o.output, "c2sp.org/tlog-proof@"); err != nil {
			return err
		}
	}
	if o.leaf != "" {
		if err := mayReplace(o.leaf, entry.Magic); err != nil {
			return err
		}
	}
	policy, err := readPolicy(o.policy)
	if err != nil {
		return err
	}
	fetch, err := newFetcher(&o.connection, o.timeout)
	if err != nil {
		return err
	}
	proof, leaf, _, err := fetch.Proof(cmd.Context(), index, policy)
	if errors.Is(err, checkpoint.ErrQuorum) {
		err = fmt.Errorf("%w; its cosignatures may still come", err)
	}
	if err != nil {
		return &exitError{code: proofCode(err), err: err}
	}
	if o.leaf != "" {
		// The proof last: where there is a proof, there is its leaf.
		if err := replaceFile(o.leaf, leaf, 0o644); err != nil {
			return err
		}
	}
	if o.output == "-" {
		_, err = cmd.OutOrStdout().Write(proof.Marshal())
		return err
	}
	return replaceFile(o.output, proof.Marshal(), 0o644)
}

// newFetcher makes a fetcher from the flags of a connection.
func newFetcher(c *connection, giveUp time.Duration) (*client.Fetcher, error) {
	url, err := c.baseURL()
	if err != nil {
		return nil, err
	}
	httpClient, err := c.client()
	if err != nil {
		return nil, err
	}
	return &client.Fetcher{URL: url, HTTP: httpClient, GiveUp: giveUp}, nil
}
