//go:build !purego

#include "textflag.h"

// SHA-256 (FIPS 180-4 section 6.2.2) with the SHA extensions, for two messages in turn.
//
// SHA256RNDS2 does two rounds. The state is in two registers, A B E F and C D G H from
// the highest word down, and X0 holds the words of the schedule with their constants.
// SHA256MSG1 and SHA256MSG2 each do a part of the schedule, four words at a time.
//
//	             of the first message    of the second
//	blocks       R8                      R9
//	A B E F      X1                      X7
//	C D G H      X2                      X8
//	schedule     X3 X4 X5 X6             X9 X10 X11 X12
//
// AX points to the constants, X14 reverses the bytes of words, X13 is for a moment.

// UNPACK takes a state out of its column, and PACK puts it back.
#define UNPACK(column, abef, cdgh) \
	PINSRD $0, column*4+5*64(DI), abef; \
	PINSRD $1, column*4+4*64(DI), abef; \
	PINSRD $2, column*4+1*64(DI), abef; \
	PINSRD $3, column*4+0*64(DI), abef; \
	PINSRD $0, column*4+7*64(DI), cdgh; \
	PINSRD $1, column*4+6*64(DI), cdgh; \
	PINSRD $2, column*4+3*64(DI), cdgh; \
	PINSRD $3, column*4+2*64(DI), cdgh

#define PACK(column, abef, cdgh) \
	PEXTRD $0, abef, column*4+5*64(DI); \
	PEXTRD $1, abef, column*4+4*64(DI); \
	PEXTRD $2, abef, column*4+1*64(DI); \
	PEXTRD $3, abef, column*4+0*64(DI); \
	PEXTRD $0, cdgh, column*4+7*64(DI); \
	PEXTRD $1, cdgh, column*4+6*64(DI); \
	PEXTRD $2, cdgh, column*4+3*64(DI); \
	PEXTRD $3, cdgh, column*4+2*64(DI)

// LOAD reads four words of a block.
#define LOAD(from, at, words) \
	MOVOU  at*16(from), words; \
	PSHUFB X14, words

// ROUNDS does four rounds with four words of the schedule.
#define ROUNDS(at, words, abef, cdgh) \
	MOVO        words, X0;      \
	PADDD       at*16(AX), X0;  \
	SHA256RNDS2 X0, abef, cdgh; \
	PSHUFD      $0x0e, X0, X0;  \
	SHA256RNDS2 X0, cdgh, abef

// SCHEDULE makes the next four words out of the last 16, in place of the oldest of them,
// which SHA256MSG1 has been at.
#define SCHEDULE(oldest, third, newest) \
	MOVO       newest, X13;    \
	PALIGNR    $4, third, X13; \
	PADDD      X13, oldest;    \
	SHA256MSG2 newest, oldest

// BOTH does four rounds of both, and makes the next four words of the schedules.
#define BOTH(at, a0, a2, a3, b0, b2, b3) \
	ROUNDS(at, a3, X1, X2); \
	ROUNDS(at, b3, X7, X8); \
	SCHEDULE(a0, a2, a3);   \
	SCHEDULE(b0, b2, b3);   \
	SHA256MSG1 a3, a2;      \
	SHA256MSG1 b3, b2

// func blocks2(states *[8][16]uint32, next *[16]*byte, n int)
TEXT ·blocks2(SB), NOSPLIT, $64-24
	MOVQ  states+0(FP), DI
	MOVQ  next+8(FP), SI
	MOVQ  n+16(FP), CX
	MOVQ  0(SI), R8
	MOVQ  8(SI), R9
	LEAQ  ·constants(SB), AX
	MOVOU ·bigEndian(SB), X14
	UNPACK(0, X1, X2)
	UNPACK(1, X7, X8)

block:
	MOVOU X1, before-16(SP)
	MOVOU X2, before-32(SP)
	MOVOU X7, before-48(SP)
	MOVOU X8, before-64(SP)

	LOAD(R8, 0, X3)
	LOAD(R9, 0, X9)
	ROUNDS(0, X3, X1, X2)
	ROUNDS(0, X9, X7, X8)
	LOAD(R8, 1, X4)
	LOAD(R9, 1, X10)
	ROUNDS(1, X4, X1, X2)
	ROUNDS(1, X10, X7, X8)
	SHA256MSG1 X4, X3
	SHA256MSG1 X10, X9
	LOAD(R8, 2, X5)
	LOAD(R9, 2, X11)
	ROUNDS(2, X5, X1, X2)
	ROUNDS(2, X11, X7, X8)
	SHA256MSG1 X5, X4
	SHA256MSG1 X11, X10
	LOAD(R8, 3, X6)
	LOAD(R9, 3, X12)

	BOTH(3, X3, X5, X6, X9, X11, X12)
	BOTH(4, X4, X6, X3, X10, X12, X9)
	BOTH(5, X5, X3, X4, X11, X9, X10)
	BOTH(6, X6, X4, X5, X12, X10, X11)
	BOTH(7, X3, X5, X6, X9, X11, X12)
	BOTH(8, X4, X6, X3, X10, X12, X9)
	BOTH(9, X5, X3, X4, X11, X9, X10)
	BOTH(10, X6, X4, X5, X12, X10, X11)
	BOTH(11, X3, X5, X6, X9, X11, X12)
	BOTH(12, X4, X6, X3, X10, X12, X9)

	// As BOTH, and no word of the schedule is needed any more but these.
	ROUNDS(13, X4, X1, X2)
	ROUNDS(13, X10, X7, X8)
	SCHEDULE(X5, X3, X4)
	SCHEDULE(X11, X9, X10)
	ROUNDS(14, X5, X1, X2)
	ROUNDS(14, X11, X7, X8)
	SCHEDULE(X6, X4, X5)
	SCHEDULE(X12, X10, X11)
	ROUNDS(15, X6, X1, X2)
	ROUNDS(15, X12, X7, X8)

	MOVOU before-16(SP), X13
	PADDD X13, X1
	MOVOU before-32(SP), X13
	PADDD X13, X2
	MOVOU before-48(SP), X13
	PADDD X13, X7
	MOVOU before-64(SP), X13
	PADDD X13, X8

	ADDQ $64, R8
	ADDQ $64, R9
	DECQ CX
	JNZ  block

	PACK(0, X1, X2)
	PACK(1, X7, X8)
	RET

// func hasSHA() bool
TEXT ·hasSHA(SB), NOSPLIT, $0-1
	MOVB $0, ret+0(FP)
	XORL AX, AX
	CPUID
	CMPL AX, $7 // the highest leaf there is
	JLT  done
	MOVL $7, AX
	XORL CX, CX
	CPUID
	SHRL $29, BX
	ANDL $1, BX
	MOVB BX, ret+0(FP)

done:
	RET
