package server

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"
)

// BenchmarkDoor measures what the door does to one signed event before it goes
// to the log, all of it, and in turns the raw verification of its signature; both
// in processor time of one core. The ratio is what all else costs beside that.
func BenchmarkDoor(b *testing.B) {
	f := newFixture(b, setup{})
	bodies, _ := f.bodies(64, 1, true)
	dir, err := f.server.door.current(b.Context())
	f.must(err)
	now := time.Now().UnixMilli()
	key := testKey("gateway").(ed25519.PrivateKey)
	public, message := key.Public().(ed25519.PublicKey), bytes.Repeat([]byte("x"), 600)
	sig := ed25519.Sign(key, message)
	var door, raw time.Duration
	judged := 0
	b.ResetTimer()
	for judged < b.N {
		start := cpuTime()
		for _, body := range bodies {
			c := candidate{raw: body, signed: true}
			f.must(c.parse())
			f.must(c.judge(dir, now))
		}
		middle := cpuTime()
		for range bodies {
			ed25519.Verify(public, message, sig)
		}
		door, raw = door+middle-start, raw+cpuTime()-middle
		judged += len(bodies)
	}
	b.StopTimer()
	b.ReportMetric(float64(door.Nanoseconds())/float64(judged), "door-ns")
	b.ReportMetric(float64(raw.Nanoseconds())/float64(judged), "verify-ns")
	b.ReportMetric(float64(door)/float64(raw), "ratio")
}
