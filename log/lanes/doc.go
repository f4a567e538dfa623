// Package lanes hashes many messages at once with SHA-256.
//
// One message alone leaves most of a processor idle: each step needs what the one
// before gives. So messages go side by side, each in a lane: on amd64 16 of them
// with AVX-512, where one instruction does the same for all; or two in turn with
// the SHA extensions, whose instructions take longer to give a result than to take
// the next. Elsewhere crypto/sha256 hashes one after the other. The sums are the
// same.
//
// A leaf of 600 bytes takes a third of the time that crypto/sha256 takes in 16
// lanes, and 0.6 of it in two. It is for those who hash every leaf of a log.
package lanes
