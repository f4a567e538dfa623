// Package fixedbase verifies Ed25519 signatures of keys that sign often. Verifying takes crypto/ed25519 some 250 doublings
// of a point. Where the same key comes again and again, as it does in a log of few sources and many events,
// tables of the key's multiples make that a sum of some 80 points: two to three times as fast, with the same verdict on any
// bytes whatever. Keys that come seldom are left to crypto/ed25519.
//
// The arithmetic below that is filippo.io/edwards25519, which is that of crypto/ed25519. Nothing here may touch a private key: its
// time depends on the data.
package fixedbase
