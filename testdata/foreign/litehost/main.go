// Command litehost gives litewitness what it needs to run: an ssh-agent that holds its key, and rows in its database.
//
//	litehost agent --socket PATH                serves an agent with one new Ed25519 key on PATH, prints its fingerprint
//	litehost add-log --db FILE --vkey VKEY      lets the witness with that database cosign that log
//
// litewitness makes its tables itself when it starts, so add-log is run after that.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "litehost: FAILED:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("give agent or add-log")
	}
	switch args[0] {
	case "agent":
		return serveAgent(args[1:])
	case "add-log":
		return addLog(args[1:])
	default:
		return fmt.Errorf("unknown command %q: give agent or add-log", args[0])
	}
}

// serveAgent runs until it is killed: the key lives no longer than the witness that uses it.
func serveAgent(args []string) error {
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	socket := fs.String("socket", "", "path of the unix socket")
	if err := fs.Parse(args); err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return err
	}
	l, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println(ssh.FingerprintSHA256(signer.PublicKey()))
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			// The end of the connection is the end of its client, nothing more.
			_ = agent.ServeAgent(ring, conn)
		}()
	}
}

func addLog(args []string) error {
	fs := flag.NewFlagSet("add-log", flag.ContinueOnError)
	file := fs.String("db", "", "litewitness's database")
	vkey := fs.String("vkey", "", "the log's Ed25519 verifier key; its name is the log's origin")
	if err := fs.Parse(args); err != nil {
		return err
	}
	v, err := note.NewVerifier(*vkey)
	if err != nil {
		return fmt.Errorf("--vkey: %w", err)
	}
	db, err := sqlite.OpenConn(*file, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	db.SetBlockOnBusy()
	db.SetInterrupt(after(10 * time.Second))
	err = sqlitex.Execute(db, "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
		&sqlitex.ExecOptions{Args: []any{v.Name(), base64.StdEncoding.EncodeToString(make([]byte, 32))}})
	if err == nil {
		err = sqlitex.Execute(db, "INSERT INTO key (origin, key) VALUES (?, ?)",
			&sqlitex.ExecOptions{Args: []any{v.Name(), *vkey}})
	}
	return errors.Join(err, db.Close())
}

// after returns a channel that closes when d has passed: a database that stays locked is an error, not a hang.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}
