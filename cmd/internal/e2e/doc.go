// Package e2e holds no program, only tests that build the real ones and the programs of other people in
// testdata/foreign, start them on loopback ports, and let them talk to each other: foreign readers verify our log,
// a foreign witness cosigns it, our witness cosigns a foreign log. Its tests carry the build tag e2e; `make e2e`
// runs them. Benchmarks in files named *_peer_test.go measure the same programs, one against the other in one run;
// `make bench-peers` and `make bench-big` run those.
package e2e
