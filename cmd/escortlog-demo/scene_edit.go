package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/client/audit"
	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/escortlog/escortlog/witness"
)

// sceneEdit lets the operator change one entry: first as somebody with an editor
// would, then as somebody who rewrites everything that follows from it.
func (d *demo) sceneEdit(ctx context.Context) error {
	d.scene("First attack: the operator edits an entry in the store")
	leaves, err := d.honestLeaves(ctx)
	if err != nil {
		return err
	}
	// What the honest log is put back from after each attack.
	d.honest = filepath.Join(d.dir, "honest")
	if err := d.operator.backup(ctx, d.honest); err != nil {
		return err
	}
	if err := d.editCrudely(ctx); err != nil {
		return err
	}
	if err := d.editCarefully(ctx, leaves); err != nil {
		return err
	}
	return d.putBackHonest(ctx)
}

// putBackHonest ends an attack: the honest data again, and the log running.
func (d *demo) putBackHonest(ctx context.Context) error {
	if err := d.operator.stop(); err != nil {
		return err
	}
	if err := d.operator.putBack(d.honest); err != nil {
		return err
	}
	if err := d.operator.start(ctx); err != nil {
		return fmt.Errorf("%w: the honest log does not open: %w", errNotCaught, err)
	}
	if _, err := d.operator.log.WaitPublished(ctx, d.size); err != nil {
		return fmt.Errorf("%w: the honest log publishes nothing: %w", errNotCaught, err)
	}
	return nil
}

// editCrudely changes a few bytes of one stored entry and nothing else.
func (d *demo) editCrudely(ctx context.Context) error {
	if err := d.operator.stop(); err != nil {
		return err
	}
	d.attack("stops the log, opens its database, and changes the bytes of one entry: a command's exit_code 0 becomes 1")
	if err := overwrite(ctx, d.operator.db(), `"exit_code":0`, `"exit_code":1`); err != nil {
		return err
	}
	err := d.operator.start(ctx)
	if err := unless(errors.Is(err, storage.ErrCorrupt), "the log opened on an edited entry: %v", err); err != nil {
		return err
	}
	report, fsck := d.operator.fsck(ctx)
	if err := unless(errors.Is(fsck, storage.ErrCorrupt) && len(report.Problems) > 0, "fsck found nothing: %v", fsck); err != nil {
		return err
	}
	d.fact("fsck", "%d problems, the first: %s", len(report.Problems), report.Problems[0])
	d.caught("edits an entry in the store", "the log itself",
		"it hashes what is stored before it serves anything, the root is not the one it committed to, and it does not start")
	return d.operator.putBack(d.honest)
}

// overwrite replaces text in the first stored value that holds it, through the
// storage contract and under its own compare-and-swap.
func overwrite(ctx context.Context, dir, old, new string) (err error) {
	store, err := badger.Open(dir, badger.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	head, err := store.Get(ctx, storage.HeadKey)
	if err != nil {
		return err
	}
	var put []storage.KV
	err = store.Scan(ctx, nil, nil, func(key, value []byte) error {
		if len(put) == 0 && bytes.Contains(value, []byte(old)) {
			put = append(put, storage.KV{Key: bytes.Clone(key), Value: bytes.Replace(value, []byte(old), []byte(new), 1)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(put) == 0 {
		return fmt.Errorf("nothing in the store holds %s", old)
	}
	return store.Commit(ctx, &storage.Batch{OldHead: head, NewHead: head, Put: put})
}

// editCarefully makes the same change, and makes everything else follow from it.
// The gateway stands in the operator's house, so the operator has its key: the
// entry and all later ones of the gateway are signed anew, each naming the hash of
// the one before. Then tree, database, guard and the log's own signatures.
func (d *demo) editCarefully(ctx context.Context, leaves [][]byte) (err error) {
	forged, first, signed, err := d.rewrite(leaves, `"exit_code":0`, `"exit_code":1`)
	if err != nil {
		return err
	}
	f, err := d.forge(ctx, "edited", forged)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	d.attack("is more careful: takes the gateway's key too, makes the same change in leaf %d, signs it and the %d later events of the gateway anew, "+
		"and has the log's own software build a new database from all leaves, with every signature and every hash right", first, signed-1)
	if err := d.plantForgery(ctx, f); err != nil {
		return err
	}
	if err := d.signForgery(ctx, f); err != nil {
		return err
	}
	return d.serveForgery(ctx, f, "edited")
}

// rewrite changes text in the first entry of the gateway that holds it, and
// chains and signs all later ones anew. It returns all leaves, the index of the
// changed one, and how many were signed.
func (d *demo) rewrite(leaves [][]byte, old, new string) (forged [][]byte, first, signed int, err error) {
	gateway := d.source("gateway")
	var was, is string // hashes of the gateway's event before, as it was and as it is now
	for i, leaf := range leaves {
		e, err := entry.Parse(leaf)
		if err != nil {
			return nil, 0, 0, err
		}
		if !bytes.Contains(e.Payload, []byte(`"source":"`+gateway.URI+`"`)) || signed == 0 && !bytes.Contains(e.Payload, []byte(old)) {
			forged = append(forged, leaf)
			continue
		}
		payload := bytes.Replace(e.Payload, []byte(`"prevhash":"`+was), []byte(`"prevhash":"`+is), 1)
		if signed == 0 {
			first, payload = i, bytes.Replace(payload, []byte(old), []byte(new), 1)
		}
		was, is = event.PrevHash(e.Payload), event.PrevHash(payload)
		v, err := client.SignEvent(payload, gateway.Key)
		if err != nil {
			return nil, 0, 0, err
		}
		if leaf, err = v.Entry(e.Time).Marshal(); err != nil {
			return nil, 0, 0, err
		}
		forged = append(forged, leaf)
		signed++
	}
	return forged, first, signed, unless(signed > 1, "the gateway has no entry that holds %s", old)
}

// plantForgery puts the forged database in the place of the real one, corrects
// the guard, and starts the log with its own, honest software.
func (d *demo) plantForgery(ctx context.Context, f *forgery) error {
	head := f.log.Head()
	planted := filepath.Join(d.dir, "forged-planted")
	if err := copyStore(ctx, f.store, planted); err != nil {
		return err
	}
	if err := replaceDir(d.operator.db(), planted); err != nil {
		return err
	}
	guard, err := log.OpenGuard(d.operator.guardFile(), d.operator.dir, origin)
	if err != nil {
		return err
	}
	if err := errors.Join(guard.Advance(head), guard.Close()); err != nil {
		return err
	}
	d.attack("puts it in place of the old one, writes its head into the guard, and starts the log")
	if err := d.operator.start(ctx); err != nil {
		return err
	}
	reason, err := d.halted(ctx)
	if err != nil {
		return err
	}
	d.caught("rewrites the whole store", "the witnesses' memory", reason)
	return d.operator.stop()
}

// copyStore writes all that a store holds into a new one.
func copyStore(ctx context.Context, from storage.Store, dir string) (err error) {
	to, err := badger.Open(dir, badger.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	batch := &storage.Batch{}
	err = from.Scan(ctx, nil, nil, func(key, value []byte) error {
		if bytes.Equal(key, storage.HeadKey) {
			batch.NewHead = bytes.Clone(value)
			return nil
		}
		batch.Put = append(batch.Put, storage.KV{Key: bytes.Clone(key), Value: bytes.Clone(value)})
		return nil
	})
	if err != nil {
		return err
	}
	return to.Commit(ctx, batch)
}

// halted demands that the running log has stopped itself over a contradiction
// with what a witness remembers, and returns its reason. It submits an event,
// which is not answered before the witnesses have been asked.
func (d *demo) halted(ctx context.Context) (reason string, err error) {
	body := d.late().Marshal()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.operator.front.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/vnd.dsse+json")
	req.Header.Set("Prefer", "respond-async") // a log that takes it answers when it is durable
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	if err := resp.Body.Close(); err != nil {
		return "", err
	}
	ready := d.operator.log.Ready()
	if err := unless(resp.StatusCode == http.StatusServiceUnavailable && errors.Is(ready, log.ErrRollback),
		"the log answers %d and says it is ready (%v), on a store that contradicts what it signed", resp.StatusCode, ready); err != nil {
		return "", err
	}
	return "the log asks them before it commits or signs anything, and halts: " + brief(ready), nil
}

// brief is the first sentence of the reason why a log stopped.
func brief(err error) string {
	text := strings.ReplaceAll(err.Error(), "log: ", "")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "stopped: "), ". ")
	return text
}

// signForgery has the operator sign by hand what the software would not, and ask
// the witnesses, in every way there is.
func (d *demo) signForgery(ctx context.Context, f *forgery) error {
	d.attack("signs the new head by hand, with the log's own keys, and asks all three witnesses to cosign")
	same, err := f.note()
	if err != nil {
		return err
	}
	if err := f.add(ctx, d.lateLeaf(), time.Now().UnixMilli()); err != nil {
		return err
	}
	larger, err := f.note()
	if err != nil {
		return err
	}
	proof, err := f.consistency(ctx, d.size)
	if err != nil {
		return err
	}
	for _, n := range d.witnesses {
		zero, _, err := n.addCheckpoint(ctx, 0, nil, same)
		if err != nil {
			return err
		}
		fork, why, err := n.addCheckpoint(ctx, d.size, nil, same)
		if err != nil {
			return err
		}
		grown, _, err := n.addCheckpoint(ctx, d.size, proof, larger)
		if err != nil {
			return err
		}
		kept, err := n.evidence(witness.Fork)
		if err != nil {
			return err
		}
		if err := unless(zero == http.StatusConflict && fork == http.StatusUnprocessableEntity && grown == http.StatusUnprocessableEntity && len(kept) == 1 && kept[0].Proof,
			"witness %s answered %d, %d (%s) and %d and keeps %d pieces of evidence", n.name, zero, fork, why, grown, len(kept)); err != nil {
			return err
		}
		d.fact(n.name, "as if new: %d; same size: %d; grown by one leaf: %d. It keeps both signed heads as evidence", zero, fork, grown)
	}
	d.caught("signs the rewritten head by hand", "every witness", "each remembers the root it cosigned for this size, and nothing leads from there to the new one")
	return nil
}

// serveForgery shows the forged log to the auditor who was here before.
func (d *demo) serveForgery(ctx context.Context, f *forgery, name string) error {
	d.attack("serves it all the same, to the auditor who was here before")
	if _, err := f.log.WaitPublished(ctx, f.log.Head().Size); err != nil {
		return err
	}
	d.otherFace().show(f.server.Handler())
	defer d.otherFace().show(nil)
	state, err := d.sameAuditor(name)
	if err != nil {
		return err
	}
	r, _, err := d.audit(ctx, d.otherFace().url, state)
	if err != nil {
		return err
	}
	if err := refusedByAudit(r, audit.VerdictConsistency, audit.VerdictQuorum); err != nil {
		return err
	}
	d.fact("audit", "exit code %d, integrity failure: %s", r.ExitCode(), failure(r, audit.VerdictConsistency))
	d.fact("evidence", "%s: both checkpoints, each with the log's own signature", r.Evidence)
	d.caught("serves the rewritten log", "the auditor", "the new tree does not extend the one it verified before, and no witness vouches for it")
	return nil
}
