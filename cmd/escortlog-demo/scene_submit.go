package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// sceneSubmit has the sources sign and submit both sample sessions. Between
// them the operator makes a backup, as operators do.
func (d *demo) sceneSubmit(ctx context.Context) error {
	d.scene("The sources sign what happened, where it happened, and submit it")
	if err := d.submit(ctx, "good session", samples.GoodSession, d.sessions.Good); err != nil {
		return err
	}
	d.yesterday = filepath.Join(d.dir, "backup-of-yesterday")
	if err := d.operator.backup(ctx, d.yesterday); err != nil {
		return err
	}
	d.fact("backup", "the operator stops the log, copies its data directory, and starts it again")
	if err := d.submit(ctx, "next day", samples.UnattestedSession, d.sessions.Unattested); err != nil {
		return err
	}
	again, err := d.submitter().Submit(ctx, d.signed(len(d.sessions.Good)))
	if err != nil {
		return err
	}
	first := d.receipts[len(d.sessions.Good)]
	if err := unless(again[0].Err == nil && again[0].Receipt.Existing && again[0].Receipt.Index == first.Index,
		"an event sent twice should be answered with its first index %d: %+v", first.Index, again[0]); err != nil {
		return err
	}
	d.size = d.operator.log.Head().Size
	if err := unless(d.size == d.receipts[len(d.receipts)-1].Index+1, "the log has %d leaves behind the last receipt", d.size); err != nil {
		return err
	}
	d.fact("sent twice", "the first event of that day again, same bytes: leaf %d again, nothing logged", first.Index)
	d.say("The samples are of June 2025. No source can hide how late that is logged: when it was recorded is signed by the source, when it was logged stands in the leaf.")
	d.say("Commands, outputs and justifications are commitments: salt and content stay with the submitter. "+
		"The log holds %d leaves; every one of the %d submissions was answered with a proof that the submitter verified.", d.size, len(d.receipts))
	return nil
}

// signed is an event of the sessions, both counted as one list, signed by its
// source.
func (d *demo) signed(i int) *entry.Envelope {
	e := slices.Concat(d.sessions.Good, d.sessions.Unattested)[i]
	v, err := client.SignEvent(e.Payload, e.Source.Key)
	if err != nil {
		panic(fmt.Sprintf("signing a sample with its own key: %v", err)) // the samples' tests sign them all
	}
	return v
}

// submit sends one session and keeps its receipts.
func (d *demo) submit(ctx context.Context, name, id string, events []samples.Event) error {
	var envelopes []*entry.Envelope
	sources := map[string]bool{}
	for i, e := range events {
		envelopes = append(envelopes, d.signed(len(d.receipts)+i))
		sources[e.Source.URI] = true
	}
	results, err := d.submitter().Submit(ctx, envelopes...)
	if err != nil {
		return err
	}
	var last *client.Receipt
	for i, r := range results {
		if r.Err != nil {
			return fmt.Errorf("%s, event %d: %w", id, i+1, r.Err)
		}
		last = r.Receipt
		d.receipts = append(d.receipts, r.Receipt)
	}
	ev, err := event.Parse(events[len(events)-1].Payload)
	if err != nil {
		return err
	}
	d.fact(name, "%s: %d events by %d sources, leaves %d to %d; checkpoint of size %d, cosigned by %s", id, len(events), len(sources),
		results[0].Receipt.Index, last.Index, last.Verified.Size, cosigners(last.Verified))
	d.fact("", "its last event was recorded at %s, and logged at %s", ev.RecordedTime.Format(time.RFC3339),
		time.UnixMilli(last.Time).UTC().Format(time.RFC3339))
	return nil
}
