// Command xmod reads a whole tiled log with golang.org/x/mod's sumdb packages, the code that the go command
// trusts its checksum database with, and believes nothing that it has not hashed itself.
//
//	xmod --log URL --vkey VKEY [--cosigner VKEY]... [--proof FILE --leaf FILE]
//
// It fetches the checkpoint and verifies the log's signature and every listed cosigner's, fetches every entry
// bundle and every hash tile, recomputes all hashes from the entries alone, and compares each tile byte for byte
// and the root. With --proof and --leaf it also verifies a tlog-proof of that leaf. It prints one line for each
// thing verified and exits 0 only when all of them were.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is the only height of https://c2sp.org/tlog-tiles: 256 hashes a tile.
const tileHeight = 8

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "xmod: FAILED:", err)
		os.Exit(1)
	}
}

type flags struct {
	log, vkey, proof, leaf string
	cosigners              []string
}

func run() error {
	var f flags
	flag.StringVar(&f.log, "log", "", "base URL of the log")
	flag.StringVar(&f.vkey, "vkey", "", "the log's Ed25519 verifier key; its name is the log's origin")
	flag.Func("cosigner", "verifier key that must have cosigned the checkpoint (repeatable)", func(s string) error {
		f.cosigners = append(f.cosigners, s)
		return nil
	})
	flag.StringVar(&f.proof, "proof", "", "a tlog-proof file to verify")
	flag.StringVar(&f.leaf, "leaf", "", "the leaf that --proof is about")
	flag.Parse()
	if f.vkey == "" || (f.log == "") == (f.proof == "") || (f.proof == "") != (f.leaf == "") {
		return errors.New("give --vkey, and either --log or --proof with --leaf")
	}
	logKey, err := note.NewVerifier(f.vkey)
	if err != nil {
		return fmt.Errorf("--vkey: %w", err)
	}
	must := []note.Verifier{logKey}
	for _, c := range f.cosigners {
		v, err := fnote.NewVerifier(c)
		if err != nil {
			return fmt.Errorf("--cosigner: %w", err)
		}
		must = append(must, v)
	}
	if f.log != "" {
		return checkLog(&http.Client{Timeout: 30 * time.Second}, strings.TrimSuffix(f.log, "/"), must)
	}
	return checkProof(f.proof, f.leaf, must)
}

// checkpoint is a verified tree head: every one of must has signed it, and its origin is the name of must[0].
func checkpoint(signed []byte, must []note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(signed, note.VerifierList(must...))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("opening checkpoint: %w", err)
	}
	for _, v := range must {
		found := false
		for _, s := range n.Sigs {
			found = found || s.Name == v.Name() && s.Hash == v.KeyHash()
		}
		if !found {
			return tlog.Tree{}, fmt.Errorf("the checkpoint lacks the signature of %s+%08x", v.Name(), v.KeyHash())
		}
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != must[0].Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint text %q is not of origin %q", n.Text, must[0].Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("checkpoint size %q is not a canonical number", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint root: %w", err)
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// memory is the whole hash storage of x/mod's tlog, rebuilt here from the entries.
type memory []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(m)) {
			return nil, fmt.Errorf("no hash %d", x)
		}
		out[i] = m[x]
	}
	return out, nil
}

func checkLog(c *http.Client, base string, must []note.Verifier) error {
	signed, err := get(c, base+"/checkpoint")
	if err != nil {
		return err
	}
	tree, err := checkpoint(signed, must)
	if err != nil {
		return err
	}
	var hashes memory
	for first := int64(0); first < tree.N; first += 1 << tileHeight {
		t := tlog.Tile{H: tileHeight, L: -1, N: first >> tileHeight, W: int(min(tree.N-first, 1<<tileHeight))}
		data, err := get(c, base+"/"+path(t))
		if err != nil {
			return err
		}
		entries, err := split(data, t.W)
		if err != nil {
			return fmt.Errorf("%s: %w", path(t), err)
		}
		for i, e := range entries {
			stored, err := tlog.StoredHashes(first+int64(i), e, hashes)
			if err != nil {
				return err
			}
			hashes = append(hashes, stored...)
		}
	}
	// A tree head that is not the hash of these entries is caught here, whatever the tiles say.
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if tree.N == 0 {
		root = tlog.Hash{}
		copy(root[:], emptyRoot)
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries hash to root %v, the checkpoint says %v", root, tree.Hash)
	}
	tiles := tlog.NewTiles(tileHeight, 0, tree.N)
	for _, t := range tiles {
		want, err := tlog.ReadTileData(t, hashes)
		if err != nil {
			return err
		}
		got, err := get(c, base+"/"+path(t))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s differs from the entries", path(t))
		}
	}
	fmt.Printf("xmod: verified %d entries, %d hash tiles, %d signatures, root %v\n", tree.N, len(tiles), len(must), root)
	return nil
}

// emptyRoot is SHA-256 of the empty string, the root of an empty tree (RFC 6962 section 2.1).
var emptyRoot, _ = base64.StdEncoding.DecodeString("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")

// path is where https://c2sp.org/tlog-tiles puts what x/mod calls tile/8/…: the height is not named there, and
// entry bundles lie in tile/entries.
func path(t tlog.Tile) string {
	rest, _ := strings.CutPrefix(t.Path(), "tile/8/")
	if data, ok := strings.CutPrefix(rest, "data/"); ok {
		return "tile/entries/" + data
	}
	return "tile/" + rest
}

// split cuts a bundle into exactly n entries: a big-endian uint16 length before each, and nothing behind the last.
func split(data []byte, n int) ([][]byte, error) {
	var out [][]byte
	for range n {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("the bundle ends within entry %d", len(out))
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		out, data = append(out, data[2:end]), data[end:]
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%d bytes follow the last of %d entries", len(data), n)
	}
	return out, nil
}

// checkProof verifies a proof as https://c2sp.org/tlog-proof lays it out, without any proof library.
func checkProof(proofFile, leafFile string, must []note.Verifier) error {
	raw, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	leaf, err := os.ReadFile(leafFile)
	if err != nil {
		return err
	}
	head, signed, ok := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	// Our logs put the leaf's time into the extra line: the eight bytes behind the leaf's magic.
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if time, err := base64.StdEncoding.DecodeString(extra); !ok || err != nil || len(leaf) < 12 || !bytes.Equal(time, leaf[4:12]) {
		return fmt.Errorf("line %q does not hold the leaf's time", lines[1])
	}
	number, ok := strings.CutPrefix(lines[2], "index ")
	index, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || index < 0 {
		return fmt.Errorf("line %q is not an index", lines[2])
	}
	var proof tlog.RecordProof
	for _, l := range lines[3:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return fmt.Errorf("proof line %q: %w", l, err)
		}
		proof = append(proof, h)
	}
	tree, err := checkpoint(signed, must)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("leaf %d in tree of size %d: %w", index, tree.N, err)
	}
	fmt.Printf("xmod: verified the proof of entry %d in a tree of size %d\n", index, tree.N)
	return nil
}

func get(c *http.Client, url string) ([]byte, error) {
	resp, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return body, nil
}
