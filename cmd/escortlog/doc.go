// Command escortlog is the client of an escortlog: it makes keys, builds and
// cosigns authority events, signs and submits events, imports the records of
// other systems, and verifies receipts and whole logs without trusting a server.
//
// It links no storage engine. Everything it prints about a log it has hashed and
// verified itself; what a server merely claims is marked as such.
package main
