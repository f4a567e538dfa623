//go:build !purego

#include "textflag.h"

// SHA-256 (FIPS 180-4 section 6.2.2) with the SHA extensions, for two messages in turn.
//
// SHA256RNDS2 does two rounds. The state is in two registers, as A B E F and C D G H,
// and X0 holds the words of the schedule with their constants. SHA256MSG1 and SHA256MSG2
// each do a part of the schedule, four words at a time.
//
//	             of the first message    of the second
//	blocks       R8                      R9
//	A B E F      X1                      X7
//	C D G H      X2                      X8
//	schedule     X3 X4 X5 X6             X9 X10 X11 X12
//
// AX points to the constants, X14 reverses the bytes of words, X13 is for a moment.

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

// UNPACK takes a state, words A to H in order, into its two registers, and PACK puts it
// back.
#define UNPACK(from, abef, cdgh) \
	MOVOU   (from), abef;      \
	MOVOU   16(from), cdgh;    \
	PSHUFD  $0xb1, abef, abef; \
	PSHUFD  $0x1b, cdgh, cdgh; \
	MOVO    abef, X13;         \
	PALIGNR $8, cdgh, abef;    \
	PBLENDW $0xf0, X13, cdgh

#define PACK(to, abef, cdgh) \
	PSHUFD  $0x1b, abef, abef; \
	PSHUFD  $0xb1, cdgh, cdgh; \
	MOVO    abef, X13;         \
	PBLENDW $0xf0, cdgh, abef; \
	PALIGNR $8, X13, cdgh;     \
	MOVOU   abef, (to);        \
	MOVOU   cdgh, 16(to)

// func blocks(a, b *[8]uint32, p, q *byte, n int)
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ  a+0(FP), DI
	MOVQ  b+8(FP), SI
	MOVQ  p+16(FP), R8
	MOVQ  q+24(FP), R9
	MOVQ  n+32(FP), CX
	LEAQ  constants<>(SB), AX
	MOVOU bigEndian<>(SB), X14
	UNPACK(DI, X1, X2)
	UNPACK(SI, X7, X8)

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

	PACK(DI, X1, X2)
	PACK(SI, X7, X8)
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

DATA bigEndian<>+0(SB)/8, $0x0405060700010203
DATA bigEndian<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL bigEndian<>(SB), RODATA|NOPTR, $16

// FIPS 180-4 section 4.2.2, two words a line.
DATA constants<>+0x00(SB)/8, $0x71374491428a2f98
DATA constants<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA constants<>+0x10(SB)/8, $0x59f111f13956c25b
DATA constants<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA constants<>+0x20(SB)/8, $0x12835b01d807aa98
DATA constants<>+0x28(SB)/8, $0x550c7dc3243185be
DATA constants<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA constants<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA constants<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA constants<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA constants<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA constants<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA constants<>+0x60(SB)/8, $0xa831c66d983e5152
DATA constants<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA constants<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA constants<>+0x78(SB)/8, $0x1429296706ca6351
DATA constants<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA constants<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA constants<>+0x90(SB)/8, $0x766a0abb650a7354
DATA constants<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA constants<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA constants<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA constants<>+0xb0(SB)/8, $0xd6990624d192e819
DATA constants<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA constants<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA constants<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA constants<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA constants<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA constants<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA constants<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA constants<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA constants<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL constants<>(SB), RODATA|NOPTR, $256
