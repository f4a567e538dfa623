//go:build !purego

#include "textflag.h"

// SHA-256 (FIPS 180-4 section 6.2.2) with AVX-512, for 16 messages: each register holds
// the same word of all.
//
//	Z0 to Z7     the state, A to H
//	Z16 to Z31   the last 16 words of the schedule; word n is in W_n
//	Z8 to Z15    for a moment
//
// DI points to the states, SI to the pointers to the blocks, R8 is how far behind those it
// is. AX points to the constants.

#define W_0  Z16
#define W_1  Z18
#define W_2  Z17
#define W_3  Z19
#define W_4  Z20
#define W_5  Z22
#define W_6  Z21
#define W_7  Z23
#define W_8  Z24
#define W_9  Z26
#define W_10 Z25
#define W_11 Z27
#define W_12 Z28
#define W_13 Z30
#define W_14 Z29
#define W_15 Z31

// ROUND does one round: the new A is in h then, and the new E in d.
#define ROUND(a, b, c, d, e, f, g, h, word, at) \
	VPADDD      word, h, h;                                        \
	VPADDD.BCST at*4(AX), h, h;                                    \
	VPRORD      $6, e, Z8;                                         \
	VPRORD      $11, e, Z9;                                        \
	VPRORD      $25, e, Z10;                                       \
	VPTERNLOGD  $0x96, Z9, Z10, Z8 /* exclusive or of three */;    \
	VMOVDQA32   e, Z11;                                            \
	VPTERNLOGD  $0xca, g, f, Z11 /* Ch: f where e, else g */;      \
	VPADDD      Z8, Z11, Z11;                                      \
	VPADDD      Z11, h, h;                                         \
	VPADDD      h, d, d;                                           \
	VPRORD      $2, a, Z12;                                        \
	VPRORD      $13, a, Z13;                                       \
	VPRORD      $22, a, Z14;                                       \
	VPTERNLOGD  $0x96, Z13, Z14, Z12;                              \
	VMOVDQA32   a, Z15;                                            \
	VPTERNLOGD  $0xe8, c, b, Z15 /* Maj: what two of three are */; \
	VPADDD      Z12, Z15, Z15;                                     \
	VPADDD      Z15, h, h

// SCHEDULE makes the next word out of the last 16, in place of the oldest, w0.
#define SCHEDULE(w0, w1, w9, w14) \
	VPRORD     $7, w1, Z8;           \
	VPRORD     $18, w1, Z9;          \
	VPSRLD     $3, w1, Z10;          \
	VPTERNLOGD $0x96, Z9, Z10, Z8;   \
	VPRORD     $17, w14, Z11;        \
	VPRORD     $19, w14, Z12;        \
	VPSRLD     $10, w14, Z13;        \
	VPTERNLOGD $0x96, Z12, Z13, Z11; \
	VPADDD     w9, w0, w0;           \
	VPADDD     Z8, Z11, Z11;         \
	VPADDD     Z11, w0, w0

// LOAD reads a block of one message.
#define LOAD(lane, to) \
	MOVQ      lane*8(SI), R9; \
	VMOVDQU32 (R9)(R8*1), to; \
	VPSHUFB   Z8, to, to

// From a block of each message in a register to a word of all messages in each: PAIR
// puts words of two messages beside each other, QUAD those of four, and SPREAD collects
// one word from four such quads.
#define PAIR(a, b) \
	VPUNPCKLDQ b, a, Z8; \
	VPUNPCKHDQ b, a, b;  \
	VMOVDQA32  Z8, a

#define QUAD(a, b, c, d) \
	VPUNPCKLQDQ c, a, Z8; \
	VPUNPCKHQDQ c, a, c;  \
	VMOVDQA32   Z8, a;    \
	VPUNPCKLQDQ d, b, Z8; \
	VPUNPCKHQDQ d, b, d;  \
	VMOVDQA32   Z8, b

#define SPREAD(a, b, c, d) \
	VSHUFI32X4 $0x88, b, a, Z8;   \
	VSHUFI32X4 $0xdd, b, a, Z9;   \
	VSHUFI32X4 $0x88, d, c, Z10;  \
	VSHUFI32X4 $0xdd, d, c, Z11;  \
	VSHUFI32X4 $0x88, Z10, Z8, a; \
	VSHUFI32X4 $0x88, Z11, Z9, b; \
	VSHUFI32X4 $0xdd, Z10, Z8, c; \
	VSHUFI32X4 $0xdd, Z11, Z9, d

// func blocks16(states *[8][16]uint32, next *[16]*byte, n int)
TEXT ·blocks16(SB), NOSPLIT, $0-24
	MOVQ states+0(FP), DI
	MOVQ next+8(FP), SI
	MOVQ n+16(FP), CX
	XORL R8, R8
	VMOVDQU32 0*64(DI), Z0
	VMOVDQU32 1*64(DI), Z1
	VMOVDQU32 2*64(DI), Z2
	VMOVDQU32 3*64(DI), Z3
	VMOVDQU32 4*64(DI), Z4
	VMOVDQU32 5*64(DI), Z5
	VMOVDQU32 6*64(DI), Z6
	VMOVDQU32 7*64(DI), Z7

block:
	VBROADCASTI32X4 ·bigEndian(SB), Z8
	LOAD(0, Z16)
	LOAD(1, Z17)
	LOAD(2, Z18)
	LOAD(3, Z19)
	LOAD(4, Z20)
	LOAD(5, Z21)
	LOAD(6, Z22)
	LOAD(7, Z23)
	LOAD(8, Z24)
	LOAD(9, Z25)
	LOAD(10, Z26)
	LOAD(11, Z27)
	LOAD(12, Z28)
	LOAD(13, Z29)
	LOAD(14, Z30)
	LOAD(15, Z31)
	PAIR(Z16, Z17)
	PAIR(Z18, Z19)
	PAIR(Z20, Z21)
	PAIR(Z22, Z23)
	PAIR(Z24, Z25)
	PAIR(Z26, Z27)
	PAIR(Z28, Z29)
	PAIR(Z30, Z31)
	QUAD(Z16, Z17, Z18, Z19)
	QUAD(Z20, Z21, Z22, Z23)
	QUAD(Z24, Z25, Z26, Z27)
	QUAD(Z28, Z29, Z30, Z31)
	SPREAD(Z16, Z20, Z24, Z28)
	SPREAD(Z17, Z21, Z25, Z29)
	SPREAD(Z18, Z22, Z26, Z30)
	SPREAD(Z19, Z23, Z27, Z31)

	LEAQ ·constants(SB), AX
	MOVL $3, DX

rounds: // 16 of them, three times
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W_0, 0)
	SCHEDULE(W_0, W_1, W_9, W_14)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W_1, 1)
	SCHEDULE(W_1, W_2, W_10, W_15)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W_2, 2)
	SCHEDULE(W_2, W_3, W_11, W_0)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W_3, 3)
	SCHEDULE(W_3, W_4, W_12, W_1)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W_4, 4)
	SCHEDULE(W_4, W_5, W_13, W_2)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W_5, 5)
	SCHEDULE(W_5, W_6, W_14, W_3)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W_6, 6)
	SCHEDULE(W_6, W_7, W_15, W_4)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W_7, 7)
	SCHEDULE(W_7, W_8, W_0, W_5)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W_8, 8)
	SCHEDULE(W_8, W_9, W_1, W_6)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W_9, 9)
	SCHEDULE(W_9, W_10, W_2, W_7)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W_10, 10)
	SCHEDULE(W_10, W_11, W_3, W_8)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W_11, 11)
	SCHEDULE(W_11, W_12, W_4, W_9)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W_12, 12)
	SCHEDULE(W_12, W_13, W_5, W_10)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W_13, 13)
	SCHEDULE(W_13, W_14, W_6, W_11)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W_14, 14)
	SCHEDULE(W_14, W_15, W_7, W_12)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W_15, 15)
	SCHEDULE(W_15, W_0, W_8, W_13)
	ADDQ $64, AX
	DECL DX
	JNZ  rounds

	// And the last, behind which there is no schedule.
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W_0, 0)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W_1, 1)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W_2, 2)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W_3, 3)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W_4, 4)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W_5, 5)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W_6, 6)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W_7, 7)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, W_8, 8)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, W_9, 9)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, W_10, 10)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, W_11, 11)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, W_12, 12)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, W_13, 13)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, W_14, 14)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, W_15, 15)

	VPADDD    0*64(DI), Z0, Z0
	VMOVDQU32 Z0, 0*64(DI)
	VPADDD    1*64(DI), Z1, Z1
	VMOVDQU32 Z1, 1*64(DI)
	VPADDD    2*64(DI), Z2, Z2
	VMOVDQU32 Z2, 2*64(DI)
	VPADDD    3*64(DI), Z3, Z3
	VMOVDQU32 Z3, 3*64(DI)
	VPADDD    4*64(DI), Z4, Z4
	VMOVDQU32 Z4, 4*64(DI)
	VPADDD    5*64(DI), Z5, Z5
	VMOVDQU32 Z5, 5*64(DI)
	VPADDD    6*64(DI), Z6, Z6
	VMOVDQU32 Z6, 6*64(DI)
	VPADDD    7*64(DI), Z7, Z7
	VMOVDQU32 Z7, 7*64(DI)

	ADDQ $64, R8
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET
