package main

import (
	"context"
	"crypto"
	"errors"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/event"
)

// sceneRegister lets two administrators register every source and its key, each
// event naming the one before.
func (d *demo) sceneRegister(ctx context.Context) error {
	d.scene("Two of three administrators register who may say what")
	s := d.submitter()
	two := []crypto.Signer{d.admins[0].Key, d.admins[1].Key}
	first := d.sources[0]
	declared, key := first.Registration()

	_, err := s.SubmitAuthority(ctx, func(h event.Header) ([]byte, error) { return event.NewSourceRegistered(h, declared) }, two[0])
	if err := refusedAs(err, event.SlugThreshold); err != nil {
		return err
	}
	d.fact("one alone", "%s signs by itself: refused, 403 threshold-not-met, nothing logged", d.admins[0].Who)

	results, err := s.Submit(ctx, d.signed(0))
	if err != nil {
		return err
	}
	if err := refusedAs(results[0].Err, event.SlugUnknownKey); err != nil {
		return err
	}
	d.fact("unregistered", "the %s signs an event before its key is registered: refused, 401 unknown-key", first.Name)

	for _, src := range d.sources {
		declared, key = src.Registration()
		if _, err := s.SubmitAuthority(ctx, func(h event.Header) ([]byte, error) { return event.NewSourceRegistered(h, declared) }, two...); err != nil {
			return err
		}
		// The key signs its own registration too, which shows that its holder has it.
		receipt, err := s.SubmitAuthority(ctx, func(h event.Header) ([]byte, error) { return event.NewKeyRegistered(h, key) }, append(two, src.Key)...)
		if err != nil {
			return err
		}
		d.fact("leaf "+number(receipt.Index), "%-14s %-11s %s", src.Name, src.Public.Type(), src.URI)
	}
	d.say("Each is a leaf of the log and names the leaf hash of the one before: who may sign is history too.")
	return nil
}

// refusedAs demands that the log refused an event for this reason.
func refusedAs(err error, slug string) error {
	var refused *client.RefusedError
	return unless(errors.As(err, &refused) && refused.Problem.Slug() == slug, "the log should have refused with %s: %v", slug, err)
}
