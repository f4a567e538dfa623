package audit

import (
	"errors"
	"os"
	"path/filepath"
)

// Last returns the checkpoint, with its signatures, that the newest audit with
// this state directory verified. It changes nothing there. Where no audit was,
// the error wraps os.ErrNotExist.
func Last(stateDir string) (note []byte, err error) {
	content, err := os.ReadFile(filepath.Join(stateDir, fileState))
	if err != nil {
		return nil, err
	}
	var f stateFile
	if err := decodeState(content, &f); err != nil {
		return nil, errors.Join(errState, err)
	}
	return []byte(f.Checkpoint), nil
}
