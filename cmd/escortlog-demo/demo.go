package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/checkpoint"
	"golang.org/x/mod/sumdb/tlog"
)

// errNotCaught is wrapped by every error that says that the demo's claims do not
// hold: an attack went through, or an honest log was refused.
var errNotCaught = errors.New("NOT AS IT SHOULD BE")

// unless returns an error when a claim of the demo is not true.
func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s", errNotCaught, fmt.Sprintf(format, args...))
}

// demo is everybody on the stage, and what the audience has seen so far.
type demo struct {
	*printer
	opts options
	dir  string // everything below it

	operator  *operator
	witnesses []*node
	fronts    []*front // of the log, the witnesses, and a second face of the log

	admins   []samples.Admin
	sources  []*samples.Source
	sessions *samples.Sessions

	genesis    tlog.Hash // leaf 0
	policyFile string
	policy     *checkpoint.Policy // as an outsider reads it from policyFile

	receipts  []*client.Receipt // of all events of the sessions, in order
	yesterday string            // a copy of the data directory between the sessions
	honest    string            // a copy after both
	size      int64             // of the log after both sessions
	verdicts  []verdict
}

// verdict is a line of the summary.
type verdict struct{ attack, by string }

// caught says who caught an attack, and keeps it for the summary.
func (d *demo) caught(attack, by, how string) {
	d.printer.caught(by, how)
	d.verdicts = append(d.verdicts, verdict{attack, by})
}

// play runs the whole tour.
func play(ctx context.Context, o options, p *printer) (err error) {
	dir, err := stageDir(o)
	if err != nil {
		return err
	}
	if o.keep == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	d := &demo{printer: p, opts: o, dir: dir}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.prepare(); err != nil {
		return err
	}
	left := "removed at the end"
	if o.keep != "" {
		left = "kept"
	}
	d.line(bold, "One log, three witnesses, two escorted sessions, and an operator who rewrites history")
	d.say("Everything runs in this process, over HTTP on loopback ports. Data: %s, %s.", dir, left)
	for _, scene := range []func(context.Context) error{
		d.sceneCreate, d.sceneRegister, d.sceneSubmit, d.sceneReceipt, d.sceneAudit, d.sceneMissing,
		d.sceneEdit, d.sceneRestore, d.sceneFork, d.sceneEnd,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	if o.stay {
		return d.sceneStay(ctx)
	}
	return nil
}

// stageDir is where everything is kept: a new directory of the system's, or the
// one that was asked for.
func stageDir(o options) (string, error) {
	if o.keep == "" {
		return os.MkdirTemp("", "escortlog-demo-")
	}
	if err := os.MkdirAll(o.keep, 0o700); err != nil {
		return "", fmt.Errorf("--keep: %w", err)
	}
	entries, err := os.ReadDir(o.keep)
	if err != nil {
		return "", fmt.Errorf("--keep: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("--keep %s: the directory is not empty; give another one", o.keep)
	}
	return filepath.Abs(o.keep)
}

// prepare reads the samples and opens the addresses.
func (d *demo) prepare() (err error) {
	if d.sessions, err = samples.NewSessions(); err != nil {
		return err
	}
	if d.sources, err = samples.Sources(); err != nil {
		return err
	}
	if d.admins, err = samples.Admins(); err != nil {
		return err
	}
	return d.openFronts()
}

// firstPort is where --stay puts the log, if that port and those behind it are
// free.
const firstPort = "127.0.0.1:8080"

// openFronts opens the addresses of the log, of the three witnesses, and of a
// second face that the operator shows to some.
func (d *demo) openFronts() error {
	address := d.opts.listen
	if address == "" && d.opts.stay {
		if d.listen(firstPort) == nil {
			return nil
		}
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	return d.listen(address)
}

// listen opens all addresses, or none.
func (d *demo) listen(first string) error {
	host, text, err := net.SplitHostPort(first)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("--listen %q: the port must be a number", first)
	}
	for range 2 + len(witnessNames) {
		f, err := newFront(net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return errors.Join(fmt.Errorf("listening: %w", err), d.closeFronts())
		}
		d.fronts = append(d.fronts, f)
		if port != 0 {
			port++
		}
	}
	return nil
}

func (d *demo) closeFronts() (err error) {
	for _, f := range d.fronts {
		err = errors.Join(err, f.close())
	}
	d.fronts = nil
	return err
}

// otherFace is the address at which the operator shows another history.
func (d *demo) otherFace() *front { return d.fronts[len(d.fronts)-1] }

// close ends everybody.
func (d *demo) close() error {
	err := d.closeFronts()
	if d.operator != nil {
		err = errors.Join(err, d.operator.stop())
	}
	for _, n := range d.witnesses {
		err = errors.Join(err, n.w.Close())
	}
	return err
}

// submitter submits to the log and believes no receipt that the policy does not
// accept.
func (d *demo) submitter() *client.Submitter {
	return &client.Submitter{URL: d.operator.front.url, Policy: d.policy}
}
