package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/spf13/cobra"
)

func newEvidenceCommand() *cobra.Command {
	var data dataDir
	cmd := &cobra.Command{
		Use:   "evidence --data DIR",
		Short: "Print what was refused and kept",
		Long: `Prints, one JSON object a line, what the log refused and kept because it proves
something: events whose source had logged another event under the same id
(identity-conflict), checkpoints under the log's own name that contradict it
(contradiction). About a thousand are kept, of each signer the newest; "by" is the
keyid of the signer whose share of them a record takes. The log must not be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			signers, err := data.signers()
			if err != nil {
				return err
			}
			o, err := data.open(signers[0].Verifier().Name(), nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.close()) }()
			out := json.NewEncoder(cmd.OutOrStdout())
			return log.ReadEvidence(cmd.Context(), o.store, func(e log.Evidence) error {
				return out.Encode(evidenceLine(e))
			})
		},
	}
	data.addFlags(cmd)
	return cmd
}

// evidenceRecord is one line of output. A record that is JSON is shown as that,
// any other (a signed note) as text.
type evidenceRecord struct {
	Seq    int64     `json:"seq"` // counts over the life of the log
	Kind   string    `json:"kind"`
	By     string    `json:"by,omitempty"` // keyid; absent where nobody in particular signed
	Time   time.Time `json:"time"`         // when it was kept
	Record any       `json:"record"`
}

func evidenceLine(e log.Evidence) evidenceRecord {
	line := evidenceRecord{Seq: e.Seq, Kind: e.Kind, By: e.By, Time: e.Time, Record: string(e.Record)}
	if json.Valid(e.Record) {
		line.Record = json.RawMessage(e.Record)
	}
	return line
}
