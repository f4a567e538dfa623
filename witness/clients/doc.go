// Package clients tells the clients of a server apart by address and bounds what each
// may cost it, in a bounded memory of its own.
//
// An address has a budget of failures: each refused request costs one, and it
// comes back with time. Whoever has used it up is turned away before its next
// request's body is read, so that a flood of requests that fail costs no signature checks. Requests that
// succeed cost nothing here: a witness bounds those for each log.
//
// Behind a proxy the address is the last one in X-Forwarded-For that is not itself a
// trusted proxy's. Loopback is always trusted; a request from loopback that does not
// say for whom it is made comes from this host or from a proxy that hides its clients, and has
// no budget. An IPv6 address stands for its /64, the least that one customer gets.
package clients
