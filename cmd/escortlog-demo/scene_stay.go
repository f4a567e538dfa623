package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// sceneStay leaves the honest log and its witnesses running until the context
// ends.
func (d *demo) sceneStay(ctx context.Context) error {
	d.scene("The honest log stays up; end it with Ctrl-C")
	file := filepath.Join(d.dir, "late-attestation.json")
	if err := os.WriteFile(file, append(d.late().Marshal(), '\n'), 0o644); err != nil {
		return err
	}
	url := d.operator.front.url
	d.fact("log", "%s", url)
	for _, n := range d.witnesses {
		d.fact("witness", "%-10s %s", n.name, n.front.url)
	}
	d.fact("policy", "%s", d.policyFile)
	d.say("The escort of the second session attests at last. Submit it and get a receipt:")
	d.line("", "")
	d.line("", fmt.Sprintf("curl -sS -H 'Content-Type: application/vnd.dsse+json' -H 'Accept: text/plain' \\\n  --data-binary @%s \\\n  %s/v1/events", file, url))
	d.line("", "")
	// Whoever waits for this file finds everything above it ready.
	ready := filepath.Join(d.dir, "log.url")
	if err := os.WriteFile(ready+".new", []byte(url+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(ready+".new", ready); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-d.operator.log.Done():
		return fmt.Errorf("the log stopped: %w", d.operator.log.Err())
	}
	d.say("Stopped.")
	return os.Remove(ready)
}
