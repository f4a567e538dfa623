package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/escortlog/escortlog/cmd/internal/samples"
	"github.com/escortlog/escortlog/log/checkpoint"
)

// origin is the name of the demo's log.
const origin = "log.example/escort-demo"

// sceneCreate makes the log and its witnesses, and opens them.
func (d *demo) sceneCreate(ctx context.Context) error {
	d.scene("The operator makes a log; three other organisations witness it")
	d.operator = &operator{dir: filepath.Join(d.dir, "log"), origin: origin, front: d.fronts[0]}
	if err := d.operator.makeKeys(); err != nil {
		return err
	}
	genesis, err := samples.Genesis(origin, d.admins)
	if err != nil {
		return err
	}
	if d.genesis, err = d.operator.create(ctx, genesis); err != nil {
		return err
	}
	for i, w := range witnessNames {
		n, err := startWitness(d.dir, w.name, w.key, d.operator.verifiers(), d.fronts[1+i])
		if err != nil {
			return err
		}
		d.witnesses = append(d.witnesses, n)
	}
	if err := d.writePolicy(); err != nil {
		return err
	}
	if err := d.operator.start(ctx); err != nil {
		return err
	}
	published, err := d.operator.log.WaitPublished(ctx, 1)
	if err != nil {
		return err
	}
	v, err := d.policy.Verify(published.Note)
	if err := unless(err == nil, "the first checkpoint does not meet the policy: %v", err); err != nil {
		return err
	}
	var who []string
	for _, a := range d.admins {
		who = append(who, a.Who)
	}
	d.fact("log", "%s at %s, signing with Ed25519 and ML-DSA-44", origin, d.operator.front.url)
	d.fact("leaf 0", "log.created, leaf hash %v", d.genesis)
	d.fact("administrators", "%s; %d of them must sign to let anybody in. The operator holds none of their keys.", strings.Join(who, "; "), samples.Threshold)
	for _, n := range d.witnesses {
		d.fact("witness", "%-10s at %s, cosigning with Ed25519 and ML-DSA-44", n.name, n.front.url)
	}
	d.fact("policy", "a checkpoint counts when the log and two of the three witnesses have signed it; a witness's two keys count once")
	d.fact("checkpoint", "size %d, cosigned by %s", v.Size, cosigners(v))
	return nil
}

// writePolicy writes what everybody outside goes by: the policy, the log's keys,
// and the hash of leaf 0.
func (d *demo) writePolicy() (err error) {
	d.operator.policyText = policyText(d.operator.signers[0].VKey(), d.operator.front.url, d.witnesses)
	d.policyFile = filepath.Join(d.dir, "policy")
	if err := os.WriteFile(d.policyFile, []byte(d.operator.policyText), 0o644); err != nil {
		return err
	}
	vkeys := strings.Join(d.operator.vkeys(), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(d.dir, "log.vkeys"), []byte(vkeys), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "log.genesis"), []byte(d.genesis.String()+"\n"), 0o644); err != nil {
		return err
	}
	d.policy, err = checkpoint.ParsePolicy([]byte(d.operator.policyText))
	d.operator.policy = d.policy
	return err
}
