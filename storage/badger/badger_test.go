package badger_test

import (
	"testing"

	"github.com/escortlog/escortlog/storage"
	"github.com/escortlog/escortlog/storage/badger"
	"github.com/escortlog/escortlog/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Opener {
		dir := t.TempDir()
		return func(t *testing.T) storage.Store {
			s, err := badger.Open(dir, badger.Options{MinFree: 1})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
