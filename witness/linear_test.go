package witness

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/escortlog/escortlog/witness/conformance"
)

// ask is one add-checkpoint request as the model sees it.
type ask struct {
	log       string
	old, size int64
	fork      bool
}

// told is its answer.
type told struct {
	status int
	known  int64 // with 409
}

// remembered is what a witness must know of a log: the model's state.
type remembered struct {
	size int64
	fork bool
}

// model is the specification of add-checkpoint for correctly signed requests
// with the best proof their history has, as one atomic step.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byLog := map[string][]porcupine.Operation{}
		for _, op := range history {
			log := op.Input.(ask).log
			byLog[log] = append(byLog[log], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byLog {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return remembered{} },
	Step: func(state, input, output any) (bool, any) {
		st, in, out := state.(remembered), input.(ask), output.(told)
		switch {
		case in.old != st.size:
			return out == told{409, st.size}, st
		case st.size > 0 && in.fork != st.fork:
			return out == told{status: 422}, st
		default:
			return out == told{status: 200}, remembered{in.size, in.fork}
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// Hundreds of concurrent requests, forks among them, look as if they had been
// answered one after another: never two cosignatures on inconsistent heads.
func TestLinearizable(t *testing.T) {
	dir := initDir(t)
	// Few clients a log, many logs: the checker's work grows with how many requests of one log overlap.
	const clientsPerLog, requests = 5, 40
	var logs [6]*conformance.Log
	for i := range logs {
		logs[i] = newLog(t, fmt.Sprintf("log.example/%d", i))
		addLog(t, dir, logs[i])
	}
	w := openDir(t, dir, func(c *Config) { c.Logger = nil })
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var known [len(logs)]atomic.Int64 // what the clients believe; stale on purpose
	var wg sync.WaitGroup
	for client := range clientsPerLog * len(logs) {
		rng := rand.New(rand.NewPCG(7, uint64(client)))
		wg.Go(func() {
			for range requests {
				i := client % len(logs)
				in := ask{log: logs[i].Origin, old: known[i].Load(), fork: rng.IntN(3) == 0}
				if rng.IntN(8) == 0 {
					in.old = rng.Int64N(in.old + 1)
				}
				in.size = min(in.old+rng.Int64N(3), 63)
				view := logs[i].Honest()
				if in.fork {
					view = logs[i].Forked()
				}
				body := []byte(view.Request(in.old, in.size))
				call := time.Since(start).Nanoseconds()
				_, err := w.AddCheckpoint(body)
				op := porcupine.Operation{ClientId: client, Input: in, Call: call, Return: time.Since(start).Nanoseconds()}
				out := told{status: 200}
				if err != nil {
					refusal := err.(*Refusal)
					out = told{refusal.Status, refusal.Known}
					if out.status == 409 {
						known[i].Store(out.known)
					}
				} else {
					known[i].Store(in.size)
				}
				op.Output = out
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, op := range history {
		count[op.Output.(told).status]++
	}
	if count[200] < 20 || count[409] < 20 || count[422] < 20 {
		t.Errorf("too few of some answers to mean anything: %v", count)
	}
	if res := porcupine.CheckOperationsTimeout(model, history, time.Minute); res != porcupine.Ok {
		t.Errorf("%d answers (%v) are not linearizable: %v", len(history), count, res)
	}
}

// The model refuses what a witness without its lock could answer.
func TestModelFindsRaces(t *testing.T) {
	op := func(client int, call, ret int64, in ask, out told) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret}
	}
	ok := told{status: 200}
	for name, h := range map[string][]porcupine.Operation{
		"two steps from one size": {
			op(0, 0, 10, ask{"l", 0, 5, false}, ok), op(1, 1, 9, ask{"l", 0, 7, false}, ok),
		},
		"a fork cosigned": {
			op(0, 0, 1, ask{"l", 0, 5, false}, ok), op(1, 2, 3, ask{"l", 5, 7, true}, ok),
		},
		"an update lost": {
			op(0, 0, 1, ask{"l", 0, 5, false}, ok), op(1, 2, 3, ask{"l", 0, 7, false}, told{409, 0}),
		},
	} {
		if porcupine.CheckOperations(model, h) {
			t.Errorf("%s passes for linearizable", name)
		}
	}
}
