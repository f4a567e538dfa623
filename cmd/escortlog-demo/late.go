package main

import (
	"fmt"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

// late is the attestation that the second session lacks, signed by its escort at
// last, and not submitted. Asked twice it is the same to the byte.
func (d *demo) late() *entry.Envelope {
	src := d.source("escort-p-41aa")
	at := time.Date(2025, time.June, 20, 9, 0, 0, 0, time.UTC)
	payload, err := event.Build(event.Attributes{
		ID:     event.NewUUIDv7(at.UnixMilli(), [10]byte([]byte("late demo!"))),
		Source: src.URI, Type: samples.FullType("session.attested"), Subject: "session/" + samples.UnattestedSession,
		Time: at, Sequence: 1, Extensions: map[string]string{"correlationid": samples.UnattestedSession},
	}, map[string]any{
		"session_id": samples.UnattestedSession, "attester": map[string]any{"ref": src.PersonRef, "role": "escort"},
		"observed_all": true, "understood_all": false, "unexplained_count": 1, "anomalies": nil,
	})
	if err == nil {
		var v *entry.Envelope
		if v, err = client.SignEvent(payload, src.Key); err == nil {
			return v
		}
	}
	panic(fmt.Sprintf("the late attestation cannot be made: %v", err)) // nothing in it depends on the run
}

// lateLeaf is the leaf that holds it, its time still to be set.
func (d *demo) lateLeaf() []byte {
	leaf, err := d.late().Entry(0).Marshal()
	if err != nil {
		panic(fmt.Sprintf("the late attestation makes no leaf: %v", err))
	}
	return leaf
}
