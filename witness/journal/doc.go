// Package journal keeps a small map of byte strings durable in one file.
//
// A witness must never forget a checkpoint it has cosigned, and it must know the
// difference between a file that ends early because the machine stopped in the
// middle of a write and a file that was damaged afterwards: the first lost
// nothing that was ever answered, the second may have.
//
// # The file
//
// The file starts with the 24 bytes of its own name and version. Then follow
// frames, one for every fsync:
//
//	magic    4 bytes   "EWJ1"
//	sequence 8 bytes   big-endian, 1 for the first frame of the file
//	length   4 bytes   big-endian, length of the payload
//	crc      4 bytes   CRC-32C of the 16 bytes before it
//	payload            records: key length, key, value length, value (lengths: 4 bytes, big-endian)
//	sum      32 bytes  SHA-256 over the previous frame's sum (32 zero bytes before the first), the header and the payload
//	end      1 byte    0xA5
//
// The last value of a key counts. A frame is one commit: all records of it are
// there after a crash or none.
//
// # What a crash leaves behind
//
// A frame is acknowledged only after its fsync. A crash before that leaves the
// frame missing, cut short, cut short and followed by zero bytes (file systems
// may have extended the file before its data arrived), or with zeros for some of its
// sectors and bytes for later ones (a disk writes in any order). Exactly these are
// accepted as a torn tail, and cut off: because no frame begins or ends with a zero
// byte and the header carries its own checksum, a bit that flips anywhere later,
// including in the last frame and in any length, is never taken for a torn tail: Open
// refuses the file with [ErrCorrupt]. (Unless a whole sector of the last frame was zeros
// when it was written; the values of a witness are not.) What no single file can show
// is its own replacement by an older copy, or a loss at the end: of whole frames, or
// of sectors of the last one.
//
// # Commits and compaction
//
// One goroutine writes. It takes all records that were handed over while the
// last fsync ran and writes them as one frame, so that concurrent writers share
// an fsync and a lone one waits for nobody. When the file has grown to several times its
// live content, the writer writes the live content to a new file, fsyncs it, renames it
// over the old one and fsyncs the directory. Any error of a write or an
// fsync is final: what the disk holds is then unknown, and only opening
// the journal again tells.
package journal
