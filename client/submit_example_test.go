package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/event"
)

// A gateway logs that a session was paused, and keeps the receipt.
func ExampleSubmitter() {
	key, err := event.ParsePrivateKeyPEM(read("gateway.key"))
	if err != nil {
		log.Fatal(err)
	}
	policy, err := checkpoint.ParsePolicy(read("policy.txt"))
	if err != nil {
		log.Fatal(err)
	}
	submitter := &client.Submitter{URL: "https://log.example.org", Policy: policy}

	// The bytes that are built here are the bytes that are signed, sent and
	// hashed. Keep them until there is a receipt; after a crash, the same bytes
	// find what was logged.
	payload, err := event.Build(event.Attributes{
		ID:      "019ca8a0-3e80-7000-8000-000000000000",
		Source:  "urn:example:gateway",
		Type:    event.Prefix + "session.paused.v1",
		Subject: "session/s-1",
		Time:    time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC),
	}, map[string]any{"session_id": "s-1", "paused_by": nil, "reason": "lunch"})
	if err != nil {
		log.Fatal(err)
	}
	envelope, err := client.SignEvent(payload, key)
	if err != nil {
		log.Fatal(err)
	}

	results, err := submitter.Submit(context.Background(), envelope)
	var refused *client.RefusedError
	switch {
	case err != nil:
		log.Fatal(err) // unknown (submit again), unmet quorum, or a false receipt
	case errors.As(results[0].Err, &refused):
		log.Fatalf("refused, nothing was logged: %s", refused.Problem)
	}
	receipt := results[0].Receipt
	if err := os.WriteFile(fmt.Sprintf("%d.tlog-proof", receipt.Index), receipt.Proof.Marshal(), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("logged at index %d, cosigned by %d witnesses\n", receipt.Index, len(receipt.Verified.Cosignatures))
}

func read(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		log.Fatal(err)
	}
	return b
}
