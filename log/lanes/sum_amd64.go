//go:build !purego

package lanes

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/cpu"
)

// Sum puts the SHA-256 of each message into sums, which must not be shorter.
func Sum(sums []tlog.Hash, messages [][]byte) {
	switch {
	case hasSixteen && len(messages) > maxLanes/2: // with fewer, two lanes are as fast
		var lanes [maxLanes]lane
		sumInLanes(lanes[:], sums, messages)
	case hasTwo && len(messages) > 1:
		var lanes [2]lane
		sumInLanes(lanes[:], sums, messages)
	default:
		sumEach(sums, messages)
	}
}

const maxLanes = 16

var (
	hasSixteen = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW
	hasTwo     = cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && hasSHA()
)

// hasSHA reports whether the processor has the SHA extensions.
func hasSHA() bool

// states are those of the lanes, each in a column: A of all lanes, B of all, to H.
type states [8][maxLanes]uint32

// blocks16 hashes n blocks of 64 bytes in each lane, from where next points on.
//
//go:noescape
func blocks16(states *states, next *[maxLanes]*byte, n int)

// blocks2 is blocks16 for the first two lanes.
//
//go:noescape
func blocks2(states *states, next *[maxLanes]*byte, n int)

// sumInLanes keeps all lanes busy, two or sixteen: where a message ends, the next begins.
func sumInLanes(lanes []lane, sums []tlog.Hash, messages [][]byte) {
	var (
		waiting = queue{sums, messages}
		states  states
		next    [maxLanes]*byte
	)
	for {
		n, busy := math.MaxInt, -1
		for i := range lanes {
			p, left := waiting.feed(&lanes[i], &states, i)
			if next[i] = p; p != nil {
				n, busy = min(n, left), i
			}
		}
		if busy < 0 {
			return
		}
		for i := range lanes {
			if next[i] == nil { // At the end: it does what another does, and nobody looks at it.
				next[i] = next[busy]
			}
		}
		if len(lanes) == 2 {
			blocks2(&states, &next, n)
		} else {
			blocks16(&states, &next, n)
		}
		for i := range lanes {
			lanes[i].advance(n)
		}
	}
}

// queue is the messages that have not been begun, with where their sums belong.
type queue struct {
	sums     []tlog.Hash
	messages [][]byte
}

// feed returns what is to be hashed next in lane i, and how many blocks. Where its
// message has ended it takes the sum, and begins another. It returns nil when there is
// none.
func (q *queue) feed(l *lane, states *states, i int) (p *byte, n int) {
	if p, n = l.next(); p != nil {
		return p, n
	}
	if l.sum != nil {
		for word := range states {
			binary.BigEndian.PutUint32(l.sum[4*word:], states[word][i])
		}
		l.sum = nil
	}
	if len(q.messages) == 0 {
		return nil, 0
	}
	for word := range states {
		states[word][i] = initial[word]
	}
	l.begin(q.messages[0], &q.sums[0])
	q.sums, q.messages = q.sums[1:], q.messages[1:]
	return l.next()
}

// initial is the state before the first block (FIPS 180-4 section 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// lane is one message on its way: whole blocks of it where they are, and a copy of what
// is behind them, with the padding. A short message is copied as a whole.
type lane struct {
	whole    []byte
	padded   [2 * sha256.BlockSize]byte
	from, to int // of padded
	sum      *tlog.Hash
}

// begin pads a message (FIPS 180-4 section 5.1.1): behind it come a one, zeros, and its
// length in bits, in one block if they fit.
func (l *lane) begin(message []byte, sum *tlog.Hash) {
	const marks = 1 + 8
	whole := 0
	if len(message) > len(l.padded)-marks {
		whole = len(message) / sha256.BlockSize * sha256.BlockSize
	}
	n := copy(l.padded[:], message[whole:])
	l.from, l.to = 0, sha256.BlockSize
	if n+marks > sha256.BlockSize {
		l.to *= 2
	}
	l.padded[n] = 0x80
	clear(l.padded[n+1 : l.to-8])
	binary.BigEndian.PutUint64(l.padded[l.to-8:], uint64(len(message))*8)
	l.whole, l.sum = message[:whole], sum
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
