package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/escortlog/escortlog/log"
)

// sceneRestore lets the operator make a day undone by going back to the backup
// from before it.
func (d *demo) sceneRestore(ctx context.Context) error {
	d.scene("Second attack: the operator restores an older copy of the data directory")
	if err := d.restoreDatabase(ctx); err != nil {
		return err
	}
	if err := d.restoreEverything(ctx); err != nil {
		return err
	}
	return d.putBackHonest(ctx)
}

// restoreDatabase puts back the database and leaves the guard as it is.
func (d *demo) restoreDatabase(ctx context.Context) error {
	if err := d.operator.stop(); err != nil {
		return err
	}
	if err := replaceDir(d.operator.db(), filepath.Join(d.yesterday, "db")); err != nil {
		return err
	}
	d.attack("stops the log and puts back yesterday's database, from before the second session. No witness can be reached just now")
	witnesses := d.witnessesAway()
	if err := d.operator.start(ctx); err != nil {
		return err
	}
	ready := d.operator.log.Ready()
	size := d.operator.log.Head().Size
	witnesses()
	if err := unless(errors.Is(ready, log.ErrRollback) && size < d.size, "a log of size %d with a guard of size %d is ready: %v", size, d.size, ready); err != nil {
		return err
	}
	d.fact("log", "%d leaves, and every one of them is right; the log had %d", size, d.size)
	d.caught("restores the database", "the guard", "a small file outside the database, written before every acknowledgement: "+brief(ready))
	return d.operator.stop()
}

// witnessesAway takes all witnesses off the network until the function it
// returns is called.
func (d *demo) witnessesAway() (back func()) {
	for _, n := range d.witnesses {
		n.front.show(nil)
	}
	return func() {
		for _, n := range d.witnesses {
			n.front.show(n.w.Handler())
		}
	}
}

// restoreEverything puts back the whole directory, guard and all, in place, so
// that not even an inode differs.
func (d *demo) restoreEverything(ctx context.Context) error {
	if err := d.operator.putBack(d.yesterday); err != nil {
		return err
	}
	d.attack("puts back the whole directory of yesterday, guard and all, into the same files")
	if _, err := d.operator.fsck(ctx); err != nil {
		return unless(false, "yesterday's copy should be sound in itself: %v", err)
	}
	d.fact("fsck", "nothing is wrong with it: on this machine nothing remembers the day that is gone")
	if err := d.operator.start(ctx); err != nil {
		return err
	}
	reason, err := d.halted(ctx)
	if err != nil {
		return err
	}
	d.caught("restores the whole directory", "the witnesses' memory", reason)
	d.say("What would be left: everything copied back, and no witness in the policy that answers. A log without witnesses is as honest as its operator.")
	return d.operator.stop()
}
