//go:build !purego

package lanes

import (
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/cpu"
)

// Sum puts the SHA-256 of each message into sums, which must not be shorter.
func Sum(sums []tlog.Hash, messages [][]byte) {
	if twoLanes {
		sumInLanes(sums, messages)
	} else {
		sumEach(sums, messages)
	}
}

var twoLanes = cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && hasSHA()

// hasSHA reports whether the processor has the SHA extensions.
func hasSHA() bool

// blocks hashes n blocks of 64 bytes from p on into the state a, and as many from q
// on into the state b.
//
//go:noescape
func blocks(a, b *[8]uint32, p, q *byte, n int)

// sumInLanes keeps both lanes busy: where a message ends, the next begins.
func sumInLanes(sums []tlog.Hash, messages [][]byte) {
	q := queue{sums, messages}
	var a, b lane
	for {
		inA, inB := q.feed(&a), q.feed(&b)
		if !inA && !inB {
			return
		}
		p, q := a.blocks, b.blocks
		if !inA { // at the end: the same in both lanes, and one is not looked at
			p = q
		} else if !inB {
			q = p
		}
		n := min(len(p), len(q)) / sha256.BlockSize
		blocks(&a.state, &b.state, &p[0], &q[0], n)
		if inA {
			a.advance(n)
		}
		if inB {
			b.advance(n)
		}
	}
}

// queue is the messages that have not been begun, with where their sums belong.
type queue struct {
	sums     []tlog.Hash
	messages [][]byte
}

// feed takes the sum out of a lane when its message is at its end, and begins the
// next in it. It reports false when there is none.
func (q *queue) feed(l *lane) bool {
	if len(l.blocks) > 0 {
		return true
	}
	if l.sum != nil {
		for i, word := range l.state {
			binary.BigEndian.PutUint32(l.sum[4*i:], word)
		}
		l.sum = nil
	}
	if len(q.messages) == 0 {
		return false
	}
	l.begin(q.messages[0], &q.sums[0])
	q.sums, q.messages = q.sums[1:], q.messages[1:]
	return true
}

// lane is one message on its way.
type lane struct {
	state  [8]uint32
	blocks []byte // to be hashed next, whole blocks; none: the message is at its end
	after  []byte // to be hashed after them
	padded [2 * sha256.BlockSize]byte
	sum    *tlog.Hash
}

// initial is the state before the first block (FIPS 180-4 section 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// begin hashes the whole blocks of a message where they are, and a copy of the rest with
// the padding (FIPS 180-4 section 5.1.1): a one, zeros, and the length in bits, in one
// block if it fits.
func (l *lane) begin(message []byte, sum *tlog.Hash) {
	whole := len(message) / sha256.BlockSize * sha256.BlockSize
	n := copy(l.padded[:], message[whole:])
	end := sha256.BlockSize
	if n+1+8 > end {
		end *= 2
	}
	l.padded[n] = 0x80
	clear(l.padded[n+1 : end-8])
	binary.BigEndian.PutUint64(l.padded[end-8:end], uint64(len(message))*8)
	l.state, l.sum = initial, sum
	l.blocks, l.after = message[:whole], l.padded[:end]
	l.advance(0)
}

// advance goes on behind n blocks.
func (l *lane) advance(n int) {
	l.blocks = l.blocks[n*sha256.BlockSize:]
	if len(l.blocks) == 0 {
		l.blocks, l.after = l.after, nil
	}
}
