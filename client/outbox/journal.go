package outbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// ErrCorrupt: outbox.log was damaged after it was written. Nothing is sent from
// it; its events are in it as JSON, for people to look at.
var ErrCorrupt = errors.New("outbox: the directory is damaged")

const (
	logName  = "outbox.log"
	newName  = "outbox.log.new"
	logMagic = "escortlog outbox v1\n\x00\x00\x00\x00"

	frameHead = 8
	frameTail = sha256.Size + 1
	frameEnd  = 0xA5
	// maxBody bounds a frame, in bytes. The largest is the state before a month
	// of events that no period has closed.
	maxBody = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is the file outbox.log, open for appending.
type journal struct {
	file *os.File
	end  int64             // where the next frame goes
	sum  [sha256.Size]byte // of the last frame
}

// place is where the body of a frame lies.
type place struct {
	offset int64
	length int
	crc    uint32 // CRC-32C of the body
}

func frameSum(prev [sha256.Size]byte, length, body []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(length)
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// append writes a frame behind the last. It is not durable before a sync. After
// an error the file is as it was, or the error is errTorn: then nothing more may
// be written.
func (j *journal) append(body []byte) (place, error) {
	if len(body) > maxBody {
		return place{}, fmt.Errorf("outbox: a record of %d bytes is too large", len(body))
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	sum := frameSum(j.sum, head, body)
	frame := make([]byte, 0, frameHead+len(body)+frameTail)
	frame = append(frame, head...)
	frame = binary.BigEndian.AppendUint32(frame, crc32.Checksum(head, castagnoli))
	frame = append(frame, body...)
	frame = append(frame, sum[:]...)
	frame = append(frame, frameEnd)
	if _, err := j.file.WriteAt(frame, j.end); err != nil {
		if cut := j.file.Truncate(j.end); cut != nil {
			return place{}, errors.Join(errTorn, err, cut)
		}
		return place{}, err
	}
	p := place{offset: j.end + frameHead, length: len(body), crc: crc32.Checksum(body, castagnoli)}
	j.end += int64(len(frame))
	j.sum = sum
	return p, nil
}

var errTorn = errors.New("outbox: a write failed half-way and could not be undone")

// read returns the body at p, checked.
func (j *journal) read(p place) ([]byte, error) {
	body := make([]byte, p.length)
	if _, err := j.file.ReadAt(body, p.offset); err != nil {
		return nil, fmt.Errorf("reading %s: %w", j.file.Name(), err)
	}
	if crc32.Checksum(body, castagnoli) != p.crc {
		return nil, fmt.Errorf("%w: %s has changed at byte %d", ErrCorrupt, j.file.Name(), p.offset)
	}
	return body, nil
}

// createJournal makes a file with nothing but its name, for frames to follow.
func createJournal(name string) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte(logMagic), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{file: f, end: int64(len(logMagic))}, nil
}

// openJournal reads every frame, cuts off a torn tail, and makes what is left
// durable: what is read from here on may be sent.
func openJournal(name string, sync func(*os.File) error, take func(body []byte, p place) error) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, end: int64(len(logMagic))}
	err = j.load(take)
	if err == nil {
		err = sync(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *journal) load(take func(body []byte, p place) error) error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	magic := make([]byte, len(logMagic))
	if _, err := j.file.ReadAt(magic, 0); err != nil || string(magic) != logMagic {
		return fmt.Errorf("%w: %s does not begin like an outbox (%v)", ErrCorrupt, j.file.Name(), err)
	}
	size := info.Size()
	for j.end < size {
		body, err := j.next(size)
		if err != nil {
			return err
		}
		if body == nil { // torn
			break
		}
		p := place{offset: j.end + frameHead, length: len(body), crc: crc32.Checksum(body, castagnoli)}
		if err := take(body, p); err != nil {
			return fmt.Errorf("%w: %s, frame at byte %d: %w", ErrCorrupt, j.file.Name(), j.end, err)
		}
		j.end += int64(frameHead + len(body) + frameTail)
	}
	if j.end < size {
		return j.file.Truncate(j.end)
	}
	return nil
}

// next reads the frame at j.end and checks it. It returns nothing for a torn
// tail.
func (j *journal) next(size int64) ([]byte, error) {
	rest := size - j.end
	head := make([]byte, min(rest, frameHead))
	if _, err := j.file.ReadAt(head, j.end); err != nil {
		return nil, err
	}
	if rest < frameHead || binary.BigEndian.Uint32(head[4:]) != crc32.Checksum(head[:4], castagnoli) {
		return nil, j.torn(size, frameHead)
	}
	length := int64(binary.BigEndian.Uint32(head))
	if length > maxBody {
		return nil, fmt.Errorf("%w: %s, frame at byte %d: %d bytes long", ErrCorrupt, j.file.Name(), j.end, length)
	}
	whole := frameHead + length + frameTail
	if rest < whole {
		return nil, j.torn(size, whole)
	}
	frame := make([]byte, whole)
	if _, err := j.file.ReadAt(frame, j.end); err != nil {
		return nil, err
	}
	body := frame[frameHead : frameHead+length]
	sum := frameSum(j.sum, head[:4], body)
	if !bytes.Equal(frame[frameHead+length:whole-1], sum[:]) || frame[whole-1] != frameEnd {
		return nil, j.torn(size, whole)
	}
	j.sum = sum
	return body, nil
}

// torn returns nil when the bytes from j.end can be a frame of whole bytes that
// a crash cut short: fewer bytes, apart from zeros that the file system put
// behind them. A whole frame never ends in a zero.
func (j *journal) torn(size, whole int64) error {
	last := int64(-1) // of the bytes that are not zero, from j.end
	buf := make([]byte, 64<<10)
	for at := j.end; at < size; {
		n, err := j.file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] != 0 {
				last = at - j.end + int64(i)
				break
			}
		}
		at += int64(n)
	}
	if last+1 < whole {
		return nil
	}
	return fmt.Errorf("%w: %s, frame at byte %d: its checksum is wrong", ErrCorrupt, j.file.Name(), j.end)
}
