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
	waiting := queue{sums, messages}
	var a, b lane
	for {
		p, n := waiting.feed(&a)
		q, m := waiting.feed(&b)
		switch {
		case p == nil && q == nil:
			return
		case p == nil: // At the end: the same in both lanes, and this one is not looked at.
			p, n = q, m
		case q == nil:
			q, m = p, n
		}
		n = min(n, m)
		blocks(&a.state, &b.state, p, q, n)
		a.advance(n)
		b.advance(n)
	}
}

// queue is the messages that have not been begun, with where their sums belong.
type queue struct {
	sums     []tlog.Hash
	messages [][]byte
}

// feed returns what is to be hashed next in a lane, so many blocks on end. Where its
// message has ended it takes the sum, and begins another. It returns nil when there is
// none.
func (q *queue) feed(l *lane) (p *byte, n int) {
	if p, n = l.next(); p != nil {
		return p, n
	}
	if l.sum != nil {
		for i, word := range l.state {
			binary.BigEndian.PutUint32(l.sum[4*i:], word)
		}
		l.sum = nil
	}
	if len(q.messages) == 0 {
		return nil, 0
	}
	l.begin(q.messages[0], &q.sums[0])
	q.sums, q.messages = q.sums[1:], q.messages[1:]
	return l.next()
}

// lane is one message on its way: whole blocks of it where they are, and a copy of what
// is behind them, with the padding.
type lane struct {
	state    [8]uint32
	whole    []byte
	padded   [2 * sha256.BlockSize]byte
	from, to int // of padded
	sum      *tlog.Hash
}

// initial is the state before the first block (FIPS 180-4 section 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// begin pads a message (FIPS 180-4 section 5.1.1): behind it come a one, zeros, and its
// length in bits, in one block if they fit.
func (l *lane) begin(message []byte, sum *tlog.Hash) {
	const room = sha256.BlockSize - 1 - 8
	whole := len(message) / sha256.BlockSize * sha256.BlockSize
	n := copy(l.padded[:], message[whole:])
	l.from, l.to = 0, sha256.BlockSize
	if n > room {
		l.to *= 2
	}
	l.padded[n] = 0x80
	clear(l.padded[n+1 : l.to-8])
	binary.BigEndian.PutUint64(l.padded[l.to-8:], uint64(len(message))*8)
	l.state, l.whole, l.sum = initial, message[:whole], sum
}

// next returns the blocks to be hashed next, or nil where the message is at its end.
func (l *lane) next() (p *byte, n int) {
	if len(l.whole) > 0 {
		return &l.whole[0], len(l.whole) / sha256.BlockSize
	}
	if l.from < l.to {
		return &l.padded[l.from], (l.to - l.from) / sha256.BlockSize
	}
	return nil, 0
}

// advance goes on behind n of the blocks of next, if there are any.
func (l *lane) advance(n int) {
	if len(l.whole) > 0 {
		l.whole = l.whole[n*sha256.BlockSize:]
	} else {
		l.from = min(l.from+n*sha256.BlockSize, l.to)
	}
}
