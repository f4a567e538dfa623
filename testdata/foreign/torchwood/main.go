// Command torchwood reads a whole tiled log, or verifies a tlog-proof, with filippo.io/torchwood.
//
//	torchwood --log URL --policy FILE
//	torchwood --policy FILE --proof FILE --leaf FILE
//
// The policy file is a tlog-policy of Ed25519 keys, parsed by torchwood's own parser. It prints one line for what
// it verified and exits 0 only when all of it was.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "torchwood: FAILED:", err)
		os.Exit(1)
	}
}

func run() error {
	log := flag.String("log", "", "base URL of the log")
	policyFile := flag.String("policy", "", "tlog-policy file")
	proofFile := flag.String("proof", "", "a tlog-proof file to verify")
	leafFile := flag.String("leaf", "", "the leaf that --proof is about")
	flag.Parse()
	if *policyFile == "" || (*log == "") == (*proofFile == "") || (*proofFile == "") != (*leafFile == "") {
		return errors.New("give --policy, and either --log or --proof with --leaf")
	}
	text, err := os.ReadFile(*policyFile)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return fmt.Errorf("parsing %s: %w", *policyFile, err)
	}
	if *log != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		return checkLog(ctx, strings.TrimSuffix(*log, "/"), policy)
	}
	return checkProof(*proofFile, *leafFile, policy)
}

func checkLog(ctx context.Context, base string, policy torchwood.Policy) error {
	signed, err := get(ctx, base+"/checkpoint")
	if err != nil {
		return err
	}
	cp, n, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return fmt.Errorf("verifying checkpoint: %w", err)
	}
	fetcher, err := torchwood.NewTileFetcher(base)
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(fetcher, torchwood.WithCutEntry(cut), torchwood.WithTimeout(time.Minute))
	if err != nil {
		return err
	}
	next := int64(0)
	// The iterator stops before a partial bundle and goes on there when asked again.
	for next < cp.N {
		from := next
		for i := range client.Entries(ctx, cp.Tree, next) {
			if i != next {
				return fmt.Errorf("entry %d came where %d was due", i, next)
			}
			next++
		}
		if err := client.Err(); err != nil {
			return fmt.Errorf("reading entries from %d: %w", from, err)
		}
		if next == from {
			return fmt.Errorf("no entries from %d of %d", from, cp.N)
		}
	}
	fmt.Printf("torchwood: verified %d entries, %d signatures, root %v\n", cp.N, len(n.Sigs), cp.Hash)
	return nil
}

// cut takes the first entry off a tlog-tiles bundle: a big-endian uint16 length and that many bytes.
func cut(tile []byte) (entry []byte, rh tlog.Hash, rest []byte, err error) {
	if len(tile) < 2 || len(tile)-2 < int(binary.BigEndian.Uint16(tile)) {
		return nil, tlog.Hash{}, nil, errors.New("the bundle ends within an entry")
	}
	end := 2 + int(binary.BigEndian.Uint16(tile))
	return tile[2:end], tlog.RecordHash(tile[2:end]), tile[end:], nil
}

func checkProof(proofFile, leafFile string, policy torchwood.Policy) error {
	proof, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	leaf, err := os.ReadFile(leafFile)
	if err != nil {
		return err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(leaf), proof); err != nil {
		return fmt.Errorf("verifying %s: %w", proofFile, err)
	}
	extra, err := torchwood.ProofExtraData(proof)
	if err != nil {
		return err
	}
	// Our logs put the leaf's time there: the eight bytes behind the leaf's magic.
	if len(leaf) < 12 || !bytes.Equal(extra, leaf[4:12]) {
		return fmt.Errorf("extra data %x is not the leaf's time", extra)
	}
	fmt.Println("torchwood: verified the proof")
	return nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
