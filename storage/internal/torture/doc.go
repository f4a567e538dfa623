// Package torture runs the real escortlogd and escortwitness on a file system that
// loses power (package powerfs) and has broken disks, under load from a client that
// remembers every acknowledgement. It holds tests only, with the build tag e2e:
// make e2e runs a few cuts, make torture hundreds.
//
// ESCORTLOG_POWER_CUTS says how often power is cut, ESCORTLOG_DISK_FAULTS how
// many runs have a disk that breaks. ESCORTLOG_TORTURE_SEED repeats the random
// choices of a run; what the programs do in between is not repeated.
package torture
