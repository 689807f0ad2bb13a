/* Clipping ADCs on crossbars, by vertical counters.

   One vector holds one bit of many positions, that is of many vectors of the matrix product: lanes are positions. An
   input bit plane of a wordline is such a vector, and the sum on a bitline is a number whose bit p, at all positions, is
   the vector plane[p]. Carry-save adders add the rows, from lists of the rows whose cell has a bit set, so that work
   follows the cell bits that are set. Only the planes that the ADC keeps are counted; what leaves them is ORed into one
   overflow plane, and a lane in it has clipped.

   Lane 8 t + i of a plane is position i WIDTH + t of its block: so 8 vectors of bytes, in the order of positions, and
   8 planes turn into each other by one transposition. */

#ifndef BITSLICE_CROSSBAR_H
#define BITSLICE_CROSSBAR_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
enum { WIDTH = 64 };
#elif defined(__AVX2__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif

enum {
    LANES = 8 * WIDTH, /* positions of a block */
    ABREAST = 4,       /* cycles counted at a time: the loops over row lists are short and hard to predict */
    INPUT_BITS = 16,   /* planes of the widest input word, */
    SUM_BITS = 32,     /* bitline sum, */
    VALUE_BITS = 64,   /* sum of one column over its cycles, */
    RESULT_BITS = 32,  /* and result, with its sign */
    CHUNK = 16         /* bytes copied at a time: a copy may run over, into what the next one writes */
};

typedef uint64_t v __attribute__((vector_size(WIDTH)));

#define INLINE static inline __attribute__((always_inline))

/* What to do; bitslice/crossbar/kernel.py mirrors it. */
typedef struct {
    const uint8_t *codes;    /* input codes: their low bytes and, `byte_stride` further, their high ones */
    const int64_t *wordline; /* offset of each wordline's first position in `codes` */
    int64_t wordlines, rows, input_bits, byte_stride;
    int64_t images, height, width, image_stride, row_stride; /* positions, and how their codes lie */
    int64_t jobs, cell_bits, dac_bits, slices;
    const int32_t (*job)[4];   /* output, tile, sign, slice of every simulated column, sorted */
    const int64_t *lists;      /* start of the row list of every job and cell bit, and the end of the last */
    const uint16_t *indices;   /* row lists, of even length; the row `rows` is empty */
    const int64_t *kept;       /* per slice: planes of the counters */
    const int64_t *dropped;    /* per slice: how many of them lie below the lowest bit of the ADC's code */
    const int64_t *start;      /* per slice: what counters start at, so that the planes above those are the code */
    const int64_t *place;      /* per slice: what the lowest bit of the code is worth, as a power of two */
    int64_t result_bits;       /* planes of the sum of one output and sign */
    int32_t *result;           /* (images, outputs, height, width) */
    int64_t result_stride;     /* from image to image */
    int64_t negative;          /* whether to subtract */
    const int32_t *order;      /* of the jobs for statistics: by tile, sign and slice */
    int64_t *histogram, bins;  /* (tiles, signs, slices, bins): how many conversions gave each sum but 0 */
} Task;

/* Input bit planes of one block of positions. */
typedef struct {
    v *planes;      /* (tiles, plane_count, rows + 1) */
    uint64_t *used; /* per tile: which planes are not empty */
    int64_t plane_count, first, count;
} Block;

INLINE v xor3(v a, v b, v c)
{
#ifdef __AVX512F__
    return (v)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
    return a ^ b ^ c;
#endif
}

INLINE v majority(v a, v b, v c)
{
#ifdef __AVX512F__
    return (v)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0xE8);
#else
    return (a & b) | (c & (a ^ b));
#endif
}

/* Adds a and b to *sum; returns the carry. */
INLINE v full_add(v *sum, v a, v b)
{
    v carry = majority(*sum, a, b);
    *sum = xor3(*sum, a, b);
    return carry;
}

/* Adds a carry of weight 2^level; returns what leaves the planes. */
INLINE v ripple(v *plane, int planes, int level, v carry)
{
    for (; level < planes; level++) {
        v sum = plane[level] ^ carry;
        carry &= plane[level];
        plane[level] = sum;
    }
    return carry;
}

/* In every byte, bit b of vector i and bit i of vector b change places. */
static inline void transpose(v m[8])
{
    const uint64_t masks[] = {0x5555555555555555, 0x3333333333333333, 0, 0x0F0F0F0F0F0F0F0F};
    for (int step = 4; step; step /= 2)
        for (int i = 0; i < 8; i++)
            if (!(i & step)) {
                v swap = ((m[i] >> step) ^ m[i + step]) & masks[step - 1];
                m[i + step] ^= swap;
                m[i] ^= swap << step;
            }
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t cycles(const Task *t)
{
    return (t->input_bits + t->dac_bits - 1) / t->dac_bits;
}

static inline int64_t tiles(const Task *t)
{
    return (t->wordlines + t->rows - 1) / t->rows;
}

static inline int64_t blocks(const Task *t)
{
    return (t->images * t->height * t->width + LANES - 1) / LANES;
}

/* One byte of every position's number, from 8 planes. */
static inline void to_bytes(const v *planes, uint8_t *bytes)
{
    v m[8];
    memcpy(m, planes, sizeof m);
    transpose(m);
    memcpy(bytes, m, sizeof m);
}

/* Whether no wordline of a job is driven in `cycle` and those abreast. */
static inline int idle(const Task *t, const Block *block, int64_t job, int64_t cycle)
{
    return !(block->used[t->job[job][1]] >> cycle * t->dac_bits & ((UINT64_C(1) << ABREAST * t->dac_bits) - 1));
}

/* What the files share, and no one else. */
#pragma GCC visibility push(hidden)

/* packing.c: makes room for a block's planes (returns 0 if memory is short), frees it, fills it. */
int open_block(const Task *t, Block *block);
void close_block(Block *block);
void pack(const Task *t, Block *block, int64_t index);

/* counting.c: adds a column's bitline sums of `cycle` and those abreast to counters of `kept` planes. */
void count_cycles(const Task *t, const Block *block, int64_t job, int64_t cycle, v (*counter)[ABREAST], int kept,
                  v *overflow);

#pragma GCC visibility pop

#endif
