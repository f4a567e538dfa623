package evidence

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"testing"
)

// sparse is a large file of which only the beginning of some places was written.
type sparse struct {
	size   int64
	places map[int64][]byte
}

func (s sparse) ReadAt(p []byte, at int64) (int, error) {
	n := int(min(int64(len(p)), s.size-at))
	clear(p[:n])
	for from, content := range s.places {
		if end := from + int64(len(content)); from < at+int64(n) && at < end {
			copy(p[max(from-at, 0):n], content[max(at-from, 0):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestZip64 lets another reader find files behind 4 GiB, and more than zip counted
// to at first.
func TestZip64(t *testing.T) {
	s := newSums()
	s.Write([]byte("hello"))
	near := s.file("checkpoint")
	far := near
	far.Name = "rules.yaml"
	near.at, far.at = 0, 5<<30
	at := far.content() + far.Size
	var directory bytes.Buffer
	if err := writeDirectory(&directory, []File{near, far}, at); err != nil {
		t.Fatal(err)
	}
	pack := sparse{at + int64(directory.Len()), map[int64][]byte{
		0: append(near.header(nil), "hello"...), far.at: append(far.header(nil), "hello"...), at: directory.Bytes(),
	}}
	z, err := zip.NewReader(pack, pack.size)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(in); err != nil || string(content) != "hello" {
			t.Errorf("%s: %q, %v", f.Name, content, err)
		}
	}
	if len(z.File) != 2 {
		t.Errorf("%d files", len(z.File))
	}

	var many memory
	w := newArchiveWriter(&many)
	const count = 66_000
	for i := range count {
		w.add(fmt.Sprintf("leaves/%05d", i), nil)
	}
	if size, err := w.close(); err != nil || size != int64(len(many)) {
		t.Fatal(size, err)
	}
	if z, err := zip.NewReader(&many, int64(len(many))); err != nil || len(z.File) != count {
		t.Errorf("%v", err)
	}
	if a, problems := readArchive(&many, int64(len(many))); len(problems) > 0 || len(a.members) != count {
		t.Errorf("%v", problems)
	}
}
