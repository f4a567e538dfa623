// Package samples makes the sample data of this repository: the keys, people,
// sources and two escorted sessions that lie in testdata and that the demo
// submits. Everything in it is made from fixed seeds and fixed times, so that it
// is the same to the byte each time.
//
// No key here protects anything: their seeds are public. Everybody and everything
// in the sessions is invented.
package samples
