package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/escortlog/escortlog/log"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/escortlog/escortlog/log/server"
	"github.com/escortlog/escortlog/storage/memory"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

var updateScripts = flag.Bool("update", false, "rewrite what the scripts in testdata compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"escortlog": main, "panics": panics})
}

// panics is the program with one command more, which panics.
func panics() {
	root := newRootCommand()
	root.AddCommand(&cobra.Command{Use: "now", RunE: func(*cobra.Command, []string) error { panic("the sky fell") }})
	os.Exit(run(root, os.Args[1:]))
}

// TestScripts runs the scripts in testdata/script. They read like a shell; the
// command "log" starts a real log in memory and sets LOG to its URL.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *updateScripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			if name == "cloudtrail" { // real records are there to be imported
				return cloudTrailFolder() != "", nil
			}
			return false, fmt.Errorf("no condition %q is known", name)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("CLOUDTRAIL", cloudTrailFolder())
			sessions, err := filepath.Abs("../../testdata/sessions")
			env.Setenv("SESSIONS", sessions)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"log":     scriptLog,
			"code":    scriptCode,
			"events":  scriptEvents,
			"story":   scriptStory,
			"sign":    scriptSign,
			"http":    scriptHTTP,
			"between": scriptBetween,
		},
	})
}

// scriptCode runs a command and demands its exit code: code 4 escortlog …
func scriptCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit interface{ ExitCode() int }
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// scriptEvents writes events of one source: events FILE SOURCE COUNT
func scriptEvents(ts *testscript.TestScript, _ bool, args []string) {
	var count int
	_, err := fmt.Sscan(args[2], &count)
	ts.Check(err)
	var out bytes.Buffer
	for i := range count {
		out.Write(sampleEvent(args[1], i))
		out.WriteByte('\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o644))
}

// sampleEvent is a valid event, the same each time.
func sampleEvent(source string, n int) []byte {
	var random [10]byte
	binary.BigEndian.PutUint64(random[2:], uint64(n))
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	payload, err := event.Build(event.Attributes{
		ID: event.NewUUIDv7(at.UnixMilli(), random), Source: source,
		Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: at,
	}, map[string]any{"session_id": "s-1", "paused_by": nil, "reason": fmt.Sprint("pause ", n)})
	if err != nil {
		panic(err)
	}
	return payload
}

// scriptSign signs the bytes of a file, as an HSM would: sign KEY IN OUT
func scriptSign(ts *testscript.TestScript, _ bool, args []string) {
	key, err := readPrivateKey(ts.MkAbs(args[0]))
	ts.Check(err)
	message, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		ts.Fatalf("%s is not an Ed25519 key", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), ed25519.Sign(private, message), 0o644))
}

// scriptLog starts a log: log [unsigned] [two]
//
// It writes policy.txt (the log's key, no witnesses), strict.txt (a policy with
// a witness that never answers), other.txt (the keys of another log of the same
// name) and admin.key; with "two", also admin2.key, and
// both must sign.
func scriptLog(ts *testscript.TestScript, _ bool, args []string) {
	genesis := event.Genesis{Origin: "log.example.org/test", Trial: true}
	names := []string{"admin"}
	for _, arg := range args {
		switch arg {
		case "unsigned":
			genesis.AllowUnsigned = true
		case "two":
			names = append(names, "admin2")
		default:
			ts.Fatalf("log: what is %q?", arg)
		}
	}
	for _, name := range names {
		key, err := event.GenerateKey(event.Ed25519)
		ts.Check(err)
		text, err := event.MarshalPrivateKeyPEM(key)
		ts.Check(err)
		public, err := event.NewPublicKey(key.Public())
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name+".key"), text, 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(name+".key.pub"), public.PEM(), 0o644))
		genesis.Administrators = append(genesis.Administrators, event.Administrator{Name: name, Key: public})
	}
	l := startLog(ts, genesis)
	ts.Setenv("LOG", l.url)
	ts.Setenv("GENESIS", l.genesis)
	ts.Check(os.WriteFile(ts.MkAbs("policy.txt"), []byte(l.policy+"quorum none\n"), 0o644))
	witness, err := checkpoint.GenerateSigner("witness.example.org/w", checkpoint.AlgCosignEd25519, rand.NewChaCha8([32]byte{9}))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("strict.txt"), []byte(l.policy+"witness w "+witness.VKey()+"\nquorum w\n"), 0o644))
	_, other := logKeys(ts, genesis.Origin, 2)
	ts.Check(os.WriteFile(ts.MkAbs("other.txt"), []byte(other+"quorum none\n"), 0o644))
}

// testLog is a real log and its real server, in this process.
type testLog struct {
	url     string
	policy  string // its log lines
	genesis string // leaf hash of leaf 0
}

// startLog starts a log that ends with the script.
func startLog(ts *testscript.TestScript, genesis event.Genesis) *testLog {
	signers, policy := logKeys(ts, genesis.Origin, 1)
	now := time.Now()
	payload, err := event.NewLogCreated(event.NewUUIDv7(now.UnixMilli(), [10]byte{1}), now, genesis)
	ts.Check(err)
	ev, err := event.Parse(payload)
	ts.Check(err)
	leaf, err := (&entry.Entry{Time: now.UnixMilli(), PayloadType: entry.PayloadType, Payload: payload}).Marshal()
	ts.Check(err)
	disk := memory.NewDisk()
	store, err := disk.Open()
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	head, err := log.Create(ctx, store, leaf, entry.Identity(ev.Source, ev.ID))
	ts.Check(err)
	parsed, err := checkpoint.ParsePolicy([]byte(policy + "quorum none\n"))
	ts.Check(err)
	l, err := log.Open(ctx, log.Config{
		Origin: genesis.Origin, Store: store, Guard: log.NewMemoryGuard(head), Signers: signers, Policy: parsed,
		PublishEvery: time.Millisecond,
	})
	ts.Check(err)
	vkeys := []string{signers[0].VKey(), signers[1].VKey()}
	s, err := server.New(ctx, server.Config{Log: l, VKeys: vkeys, Policy: parsed, PolicyText: policy + "quorum none\n"})
	ts.Check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener, nil) }()
	ts.Defer(func() {
		cancel()
		if err := errors.Join(<-served, l.Close()); err != nil && !errors.Is(err, http.ErrServerClosed) {
			ts.Logf("stopping the log: %v", err)
		}
		disk.Crash()
	})
	return &testLog{url: "http://" + listener.Addr().String(), policy: policy, genesis: entry.LeafHash(leaf).String()}
}

// logKeys makes keys of a log and the policy lines that name them, the same for
// the same seed.
func logKeys(ts *testscript.TestScript, origin string, seed byte) ([]*checkpoint.Signer, string) {
	var signers []*checkpoint.Signer
	policy := ""
	seeds := rand.NewChaCha8([32]byte{seed})
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgEd25519, checkpoint.AlgMLDSA44} {
		signer, err := checkpoint.GenerateSigner(origin, alg, seeds)
		ts.Check(err)
		signers = append(signers, signer)
		policy += "log " + signer.VKey() + "\n"
	}
	return signers, policy
}

// cloudTrailFolder finds ../shared/data/cloudtrail beside the checkout, or
// returns nothing.
func cloudTrailFolder() string {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		folder := filepath.Join(dir, "shared", "data", "cloudtrail")
		if _, err := os.Stat(folder); err == nil {
			return folder
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return ""
}
