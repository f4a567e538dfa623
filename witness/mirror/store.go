package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/escortlog/escortlog/log/tile"
	"github.com/escortlog/escortlog/witness/journal"
)

// errCorrupt says that what is on the disk is not what was written.
var errCorrupt = errors.New("the mirror's files are damaged")

// store is the files of one log: tiles under their tlog-tiles paths. One writer
// at a time; readers may read meanwhile.
type store struct{ dir string }

func (s store) full(t tile.Tile) string {
	return filepath.Join(s.dir, filepath.FromSlash(tile.Tile{Level: t.Level, N: t.N, W: tile.Width}.Path()))
}

// read returns exactly t.W hashes or entries of a tile, from a wider one if need be.
func (s store) read(t tile.Tile) ([]byte, error) {
	full := s.full(t)
	data, err := os.ReadFile(full)
	if err == nil {
		return narrow(t, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A wider partial tile may replace this one at any moment; then look again.
	for range 100 {
		w, err := s.widest(t)
		if err != nil {
			return nil, err
		}
		if w < t.W {
			if data, err := os.ReadFile(full); err == nil {
				return narrow(t, data)
			}
			return nil, fmt.Errorf("tile %s: %w", t.Path(), fs.ErrNotExist)
		}
		data, err := os.ReadFile(filepath.Join(full+".p", strconv.Itoa(w)))
		if err == nil {
			return narrow(t, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("tile %s: %w", t.Path(), fs.ErrNotExist)
}

// widest returns the width of the widest partial tile there is, 0 for none.
func (s store) widest(t tile.Tile) (int, error) {
	entries, err := os.ReadDir(s.full(t) + ".p")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	widest := 0
	for _, e := range entries {
		if w, err := strconv.Atoi(e.Name()); err == nil && w > widest {
			widest = w
		}
	}
	return widest, nil
}

// narrow cuts a tile to its first t.W hashes or entries.
func narrow(t tile.Tile, data []byte) ([]byte, error) {
	if t.Level >= 0 {
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: tile %s has %d bytes", errCorrupt, t.Path(), len(data))
		}
		return data[:t.W*tlog.HashSize], nil
	}
	end := 0
	for range t.W {
		if len(data)-end < 2 {
			return nil, fmt.Errorf("%w: %s ends early", errCorrupt, t.Path())
		}
		end += 2 + int(data[end])<<8 + int(data[end+1])
		if end > len(data) {
			return nil, fmt.Errorf("%w: %s ends early", errCorrupt, t.Path())
		}
	}
	return data[:end], nil
}

// write makes a tile durable, and then takes the narrower ones away.
func (s store) write(t tile.Tile, data []byte) error {
	path := filepath.Join(s.dir, filepath.FromSlash(t.Path()))
	if err := mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := journal.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	if t.Full() {
		return os.RemoveAll(s.full(t) + ".p")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if w, err := strconv.Atoi(e.Name()); err == nil && w < t.W {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle makes durable what is there: a process that was killed, or a write that failed, may
// have made directories and files of which the names are not, and they are built upon.
func (s store) settle() error {
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = journal.SyncDir(path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return journal.SyncDir(filepath.Dir(s.dir))
}

// mkdir makes a directory and what is missing above it, durably.
func mkdir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return journal.SyncDir(filepath.Dir(dir))
}

// stored returns how many entries there are from index from on without a gap;
// all below from are there.
func (s store) stored(from int64) (int64, error) {
	n := from / tile.Width
	for ; ; n++ {
		_, err := os.Stat(s.full(tile.Tile{Level: -1, N: n}))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	w, err := s.widest(tile.Tile{Level: -1, N: n})
	if err != nil {
		return 0, err
	}
	if end := n*tile.Width + int64(w); end >= from {
		return end, nil
	}
	return 0, fmt.Errorf("%w: entries below %d are missing", errCorrupt, from)
}

// entries returns the first w entries of a bundle.
func (s store) entries(n int64, w int) ([][]byte, error) {
	data, err := s.read(tile.Tile{Level: -1, N: n, W: w})
	if err != nil {
		return nil, err
	}
	return tile.SplitBundle(data, w)
}

// save writes the first entries of a bundle, which were proven, and the bundle's hash tile once it is full.
func (s store) save(n int64, entries [][]byte) error {
	var bundle []byte
	for _, e := range entries {
		bundle = tile.AppendEntry(bundle, e)
	}
	if len(entries) == tile.Width {
		// Before the bundle: where a full bundle is, its hash tile is too.
		if err := s.write(tile.Tile{Level: 0, N: n, W: tile.Width}, leafHashes(entries)); err != nil {
			return err
		}
	}
	return s.write(tile.Tile{Level: -1, N: n, W: len(entries)}, bundle)
}

func leafHashes(entries [][]byte) []byte {
	var out []byte
	for _, e := range entries {
		h := tlog.RecordHash(e)
		out = append(out, h[:]...)
	}
	return out
}

// complete writes the hash tiles of a tree that has grown from old to size leaves, all of whose bundles are there.
func (s store) complete(old, size int64) error {
	if size%tile.Width != 0 {
		if err := s.completeEdge(tile.Tile{Level: 0, N: size / tile.Width, W: int(size % tile.Width)}); err != nil {
			return err
		}
	}
	for level := 1; size>>(tile.Height*level) > 0; level++ {
		before, after := old>>(tile.Height*level), size>>(tile.Height*level)
		for n := before / tile.Width; n*tile.Width < after; n++ {
			w := tile.WidthAt(level, n, size)
			have := int(min(max(before-n*tile.Width, 0), tile.Width))
			if have >= w {
				continue
			}
			if err := s.extend(level, n, have, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// completeEdge writes the partial tile of leaf hashes at the right edge, unless there is a wider one.
func (s store) completeEdge(t tile.Tile) error {
	if _, err := s.read(t); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := s.entries(t.N, t.W)
	if err != nil {
		return err
	}
	return s.write(t, leafHashes(entries))
}

// extend writes a hash tile of width w, of which the first have hashes are there.
func (s store) extend(level int, n int64, have, w int) error {
	var data []byte
	if have > 0 {
		old, err := s.read(tile.Tile{Level: level, N: n, W: have})
		if err != nil {
			return err
		}
		data = append(data, old...)
	}
	for i := have; i < w; i++ {
		child, err := s.read(tile.Tile{Level: level - 1, N: n*tile.Width + int64(i), W: tile.Width})
		if err != nil {
			return err
		}
		hashes, err := tile.Hashes(child)
		if err != nil {
			return fmt.Errorf("%w: %w", errCorrupt, err)
		}
		root := tile.TileRoot(hashes)
		data = append(data, root[:]...)
	}
	return s.write(tile.Tile{Level: level, N: n, W: w}, data)
}
