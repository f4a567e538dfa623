package badger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
)

// small are options for tests: no matter how full the disk is.
var small = badger.Options{MinFree: 1, ReclaimAfter: -1}

func mustOpen(t testing.TB, dir string, o badger.Options) *badger.Store {
	t.Helper()
	s, err := badger.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func mustClose(t testing.TB, s storage.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// step is commit n of a fixed history: every commit overwrites a short and a
// long value, adds one of each, and deletes what was added three commits before.
func step(n int) *storage.Batch {
	b := &storage.Batch{NewHead: fmt.Appendf(nil, "head %d", n)}
	if n > 1 {
		b.OldHead = fmt.Appendf(nil, "head %d", n-1)
	}
	put := func(key string, size int) {
		v := bytes.Repeat(fmt.Appendf(nil, "%s=%d;", key, n), size)
		b.Put = append(b.Put, storage.KV{Key: []byte(key), Value: v})
	}
	put("same/long", 200)
	put("same/short", 1)
	put(fmt.Sprintf("added/%04d/long", n), 150)
	put(fmt.Sprintf("added/%04d/short", n), 2)
	if n > 3 {
		for _, size := range []string{"long", "short"} {
			b.Delete = append(b.Delete, fmt.Appendf(nil, "added/%04d/%s", n-3, size))
		}
	}
	return b
}

// after returns what a store holds after n steps.
func after(n int) string {
	model := map[string]string{}
	var keys []string
	for i := max(1, n-5); i <= n; i++ {
		b := step(i)
		for _, kv := range b.Put {
			model[string(kv.Key)] = string(kv.Value)
		}
		for _, k := range b.Delete {
			delete(model, string(k))
		}
		model["head"] = string(b.NewHead)
	}
	for k := range model {
		if i := n - 5; i >= 1 && strings.HasPrefix(k, fmt.Sprintf("added/%04d", i)) {
			delete(model, k)
			continue
		}
		keys = append(keys, k)
	}
	return dump(keys, model)
}

func dump(keys []string, values map[string]string) string {
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s: %s\n", k, values[k])
	}
	return b.String()
}

// content returns what a store holds, having read it with Scan and each key
// with Get.
func content(s storage.Store) (string, error) {
	var keys []string
	values := map[string]string{}
	err := s.Scan(context.Background(), nil, nil, func(k, v []byte) error {
		keys = append(keys, string(k))
		values[string(k)] = string(v)
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		v, err := s.Get(context.Background(), []byte(k))
		if err != nil {
			return "", err
		}
		if string(v) != values[k] {
			return "", fmt.Errorf("Get(%q) differs from Scan", k)
		}
	}
	return dump(keys, values), nil
}

// copyDir copies the files of a store, open or not, as a kill would leave them.
// Files are sparse, and so are the copies.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := badger.FastDir(t)
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	end, err := badger.DataEnd(in)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, io.NewSectionReader(in, 0, end)); err != nil {
		return err
	}
	return out.Truncate(info.Size())
}
