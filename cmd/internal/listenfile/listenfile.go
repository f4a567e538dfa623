// Package listenfile looks after the file into which a server writes its address.
package listenfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
)

// maxAddress bounds an address line, in bytes.
const maxAddress = 1 << 10

// Check refuses a path at which anything but an earlier address is: the file is
// replaced when the server listens and removed when it ends, and neither must
// happen to a device or to somebody's policy.
func Check(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file and would be replaced; name another", path)
	case info.Size() == 0:
		return nil
	}
	other := fmt.Errorf("%s holds something else than an address and would be replaced; name another file", path)
	if info.Size() > maxAddress {
		return other
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	line, found := strings.CutSuffix(string(text), "\n")
	if _, _, err := net.SplitHostPort(line); !found || err != nil {
		return other
	}
	return nil
}
