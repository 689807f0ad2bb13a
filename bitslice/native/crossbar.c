/* Clipping ADCs on crossbars, with vertical counters.
 *
 * One vector holds one bit of many positions (vectors of the matrix product). An input bit plane of a wordline is one
 * such vector; the sum on a bitline is a number whose bit p, for all positions at once, is the vector plane[p]. Rows are
 * added by carry-save adders, from lists of the rows whose cell has a bit set, so work follows the set cell bits. Only
 * the planes that the ADC keeps are counted: what is carried out of them is ORed into one sticky overflow plane.
 *
 * Lanes are ordered so that bytes become planes, and planes bytes, by one transposition: position 8 * sizeof(v) / 8 * i
 * + t lies in bit i of byte t.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined __AVX512F__ || defined __AVX2__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { WIDTH = 64 };
#elif defined __AVX2__
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif

typedef uint64_t v __attribute__((vector_size(WIDTH)));
#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = 8 * WIDTH, /* positions of a block */
    SUM_BITS = 40,     /* widest bitline sum */
    VALUE_BITS = 64,   /* widest sum of one column over its cycles */
    CHUNK = 16         /* bytes copied at a time: the copy of a run may overrun into the next */
};

/* Everything one phase needs; mirrored by bitslice/crossbar/kernel.py. */
typedef struct {
    const uint8_t *codes;     /* input codes, one byte each; higher bytes follow at byte_stride */
    const int64_t *wordline;  /* offset of each wordline's first position in codes */
    int64_t wordlines, rows, input_bits, byte_stride;
    int64_t images, height, width, image_stride, row_stride; /* positions, and where their codes lie */
    int64_t jobs, cell_bits, dac_bits, slices;
    const int32_t (*job)[4];  /* output, tile, sign, slice of each simulated column, in that order */
    const int64_t *lists;     /* start of the row list of each job and cell bit; one more at the end */
    const uint16_t *indices;  /* row lists, each of even length; index `rows` is an empty row */
    const int64_t *kept;      /* per slice: planes that the counter keeps */
    const int64_t *dropped;   /* per slice: planes below the ADC's step */
    int64_t result_bits;      /* planes of an output's sum of one sign */
    int32_t *result;          /* (images, outputs, height, width) */
    int64_t result_stride;    /* between images */
    int64_t negative;         /* 1: subtract */
    int64_t *clipped;         /* (tiles, signs, slices) conversions that clipped, or NULL */
    const int32_t *order;     /* of the jobs for statistics: by tile, sign and slice */
    int64_t *histogram;       /* (tiles, signs, slices, bins): conversions of each sum */
    int64_t bins;
} Task;

/* The input bit planes of one block of positions. */
typedef struct {
    v *planes;       /* (tiles, input_bits, rows + 1) */
    uint32_t *used;  /* per tile: which planes are not empty */
    v valid;         /* lanes that are positions */
    int64_t first, count;
} Block;

INLINE v xor3(v a, v b, v c) {
#ifdef __AVX512F__
    return (v)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
    return a ^ b ^ c;
#endif
}

INLINE v majority(v a, v b, v c) {
#ifdef __AVX512F__
    return (v)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0xe8);
#else
    return (a & b) | (c & (a ^ b));
#endif
}

INLINE int all_ones(v a) {
#if defined __AVX512F__
    return _mm512_cmpneq_epi64_mask((__m512i)a, _mm512_set1_epi64(-1)) == 0;
#elif defined __AVX2__
    return _mm256_testc_si256((__m256i)a, _mm256_set1_epi64x(-1));
#else
    return (a[0] & a[1]) == UINT64_MAX;
#endif
}

/* Adds a and b into *sum, returns the carry. */
INLINE v full_add(v *sum, v a, v b) {
    v carry = majority(*sum, a, b);
    *sum = xor3(*sum, a, b);
    return carry;
}

/* Bit b of vector i becomes bit i of vector b, in every byte. */
INLINE void transpose(v m[8]) {
    const uint64_t masks[3] = {0x0f0f0f0f0f0f0f0f, 0x3333333333333333, 0x5555555555555555};
    for (int stage = 0, step = 4; step; stage++, step /= 2)
        for (int i = 0; i < 8; i++)
            if (!(i & step)) {
                v swap = ((m[i] >> step) ^ m[i + step]) & masks[stage];
                m[i + step] ^= swap;
                m[i] ^= swap << step;
            }
}

/* ---- Packing: codes of a block to bit planes -------------------------------------------------------------------- */

typedef struct {
    int64_t from;
    int32_t to, length;
} Run;

/* Cuts a block into runs of positions whose codes are adjacent (one output row each); offsets are a wordline's. */
static int cut_runs(const Task *t, const Block *block, Run runs[LANES]) {
    int count = 0;
    for (int64_t done = 0; done < block->count;) {
        int64_t position = block->first + done, x = position % t->width, row = position / t->width;
        int64_t length = t->width - x < block->count - done ? t->width - x : block->count - done;
        int64_t from = row / t->height * t->image_stride + row % t->height * t->row_stride + x;
        runs[count++] = (Run){from, (int32_t)done, (int32_t)length};
        done += length;
    }
    return count;
}

static void pack(const Task *t, Block *block, int64_t index) {
    int64_t positions = t->images * t->height * t->width;
    block->first = index * LANES;
    block->count = positions - block->first < LANES ? positions - block->first : LANES;
    Run runs[LANES];
    int run_count = cut_runs(t, block, runs);
    union {
        v vectors[8];
        uint8_t bytes[LANES + CHUNK];
    } codes;
    for (int i = 0; i < LANES; i++) codes.bytes[i] = i < block->count ? 0xff : 0;
    transpose(codes.vectors);
    block->valid = codes.vectors[0];

    for (int64_t wordline = 0; wordline < t->wordlines; wordline++) {
        int64_t tile = wordline / t->rows, row = wordline % t->rows;
        v *planes = block->planes + tile * t->input_bits * (t->rows + 1) + row;
        for (int64_t low = 0; low < t->input_bits; low += 8) {
            const uint8_t *source = t->codes + low / 8 * t->byte_stride + t->wordline[wordline];
            for (const Run *run = runs; run < runs + run_count; run++)
                for (int i = 0; i < run->length; i += CHUNK)
                    memcpy(codes.bytes + run->to + i, source + run->from + i, CHUNK);
            transpose(codes.vectors);
            for (int64_t bit = low; bit < t->input_bits && bit < low + 8; bit++)
                planes[bit * (t->rows + 1)] = codes.vectors[bit - low] & block->valid;
        }
    }
    v *plane = block->planes;
    for (int64_t tile = 0; tile * t->rows < t->wordlines; tile++) {
        int64_t rows = t->wordlines - tile * t->rows < t->rows ? t->wordlines - tile * t->rows : t->rows;
        block->used[tile] = 0;
        for (int64_t bit = 0; bit < t->input_bits; bit++, plane += t->rows + 1) {
            v any = {0};
            for (int64_t row = 0; row < rows; row++) any |= plane[row];
            plane[t->rows] = (v){0};
            block->used[tile] |= (uint32_t)!all_ones(~any) << bit;
        }
    }
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

/* Adds two vectors of weight 2^level; returns the carry, or their union where no plane of that weight is kept. */
INLINE v add2(v *plane, int planes, int level, v a, v b) {
    return level < planes ? full_add(&plane[level], a, b) : a | b;
}

INLINE v tree2(v *plane, int planes, const v *rows, const uint16_t *i) {
    return add2(plane, planes, 0, rows[i[0]], rows[i[1]]);
}

INLINE v tree4(v *plane, int planes, const v *rows, const uint16_t *i) {
    return add2(plane, planes, 1, tree2(plane, planes, rows, i), tree2(plane, planes, rows, i + 2));
}

INLINE v tree8(v *plane, int planes, const v *rows, const uint16_t *i) {
    return add2(plane, planes, 2, tree4(plane, planes, rows, i), tree4(plane, planes, rows, i + 4));
}

/* Adds a carry of weight 2^level; returns what leaves the kept planes. */
INLINE v ripple(v *plane, int planes, int level, v carry) {
    for (; level < planes; level++) {
        v sum = plane[level] ^ carry;
        carry &= plane[level];
        plane[level] = sum;
    }
    return carry;
}

INLINE v count_rows(v *counter, int planes, const v *rows, const uint16_t *i, int64_t n, v overflow) {
    v plane[SUM_BITS];
    for (int p = 0; p < planes; p++) plane[p] = counter[p];
    for (; n >= 8; n -= 8, i += 8) {
        overflow |= ripple(plane, planes, 3, tree8(plane, planes, rows, i));
        if (all_ones(overflow)) return overflow;
    }
    if (n & 4) {
        overflow |= ripple(plane, planes, 2, tree4(plane, planes, rows, i));
        i += 4;
    }
    if (n & 2) overflow |= ripple(plane, planes, 1, tree2(plane, planes, rows, i));
    for (int p = 0; p < planes; p++) counter[p] = plane[p];
    return overflow;
}

/* Adds the rows of a list to a counter of so many planes; returns the lanes that ever left it. */
static v count_list(v *counter, int planes, const v *rows, const uint16_t *i, int64_t n, v overflow) {
    switch (planes) {
    case 0: return count_rows(counter, 0, rows, i, n, overflow);
    case 1: return count_rows(counter, 1, rows, i, n, overflow);
    case 2: return count_rows(counter, 2, rows, i, n, overflow);
    case 3: return count_rows(counter, 3, rows, i, n, overflow);
    case 4: return count_rows(counter, 4, rows, i, n, overflow);
    case 5: return count_rows(counter, 5, rows, i, n, overflow);
    case 6: return count_rows(counter, 6, rows, i, n, overflow);
    case 7: return count_rows(counter, 7, rows, i, n, overflow);
    case 8: return count_rows(counter, 8, rows, i, n, overflow);
    case 9: return count_rows(counter, 9, rows, i, n, overflow);
    default: return count_rows(counter, planes, rows, i, n, overflow);
    }
}

/* Adds one cycle's bitline sum of a job to a counter. The heaviest cells come first, so that it overflows early. */
static v count_cycle(const Task *t, const Block *block, int64_t job, int64_t cycle, v *counter, int kept, v overflow) {
    int64_t tile = t->job[job][1];
    const v *planes = block->planes + tile * t->input_bits * (t->rows + 1);
    const int64_t *list = t->lists + job * t->cell_bits;
    for (int64_t b = t->cell_bits - 1; b >= 0; b--)
        for (int64_t d = t->dac_bits - 1; d >= 0; d--) {
            int64_t bit = cycle * t->dac_bits + d;
            if (!(block->used[tile] >> bit & 1)) continue;
            int level = b + d < kept ? (int)(b + d) : kept;
            overflow = count_list(counter + level, kept - level, planes + bit * (t->rows + 1), t->indices + list[b],
                                  list[b + 1] - list[b], overflow);
        }
    return overflow;
}

static int cycle_is_empty(const Task *t, const Block *block, int64_t tile, int64_t cycle) {
    return !(block->used[tile] >> cycle * t->dac_bits & ((1u << t->dac_bits) - 1));
}

static int64_t cycles(const Task *t) { return (t->input_bits + t->dac_bits - 1) / t->dac_bits; }

static int64_t popcount(v a) {
    int64_t count = 0;
    for (int i = 0; i < WIDTH / 8; i++) count += __builtin_popcountll(a[i]);
    return count;
}

/* Adds one column's conversions, over all cycles, to the planes of its output. */
static void convert(const Task *t, const Block *block, int64_t job, v *sum) {
    const int32_t *where = t->job[job];
    int kept = (int)t->kept[where[3]], dropped = (int)t->dropped[where[3]], bits = kept - dropped;
    v value[VALUE_BITS] = {{0}};
    int64_t clipped = 0;
    for (int64_t cycle = 0; cycle < cycles(t); cycle++) {
        if (cycle_is_empty(t, block, where[1], cycle)) continue;
        v counter[SUM_BITS];
        for (int p = 0; p < kept; p++) counter[p] = (v){0};
        if (dropped) counter[dropped - 1] = ~(v){0}; /* half a step, for rounding */
        v overflow = count_cycle(t, block, job, cycle, counter, kept, ~block->valid);
        if (t->clipped) clipped += popcount(overflow & block->valid);
        /* Cycles come in increasing weight: the carry of one always lands on a plane that is still empty. */
        v carry = {0}, *at = value + cycle * t->dac_bits;
        for (int p = 0; p < bits; p++) carry = full_add(&at[p], counter[dropped + p] | overflow, carry);
        at[bits] = carry;
    }
    if (clipped) __atomic_fetch_add(&t->clipped[(where[1] * 2 + where[2]) * t->slices + where[3]], clipped, __ATOMIC_RELAXED);
    int offset = (int)t->cell_bits * where[3] + dropped, top = (int)((cycles(t) - 1) * t->dac_bits) + bits + 1;
    v carry = {0};
    for (int p = offset; p < t->result_bits; p++)
        carry = p < offset + top ? full_add(&sum[p], value[p - offset], carry) : ripple(sum, p + 1, p, carry);
}

/* ---- Results ------------------------------------------------------------------------------------------------------ */

/* Writes the bytes low..low+7 of every position's number, from planes in two's complement. */
static void to_bytes(const v *planes, uint8_t bytes[LANES]) {
    v m[8];
    for (int i = 0; i < 8; i++) m[i] = planes[i];
    transpose(m);
    memcpy(bytes, m, sizeof m);
}

/* Adds positive - negative, for every position of the block, to the result of one output. */
static void write_output(const Task *t, const Block *block, int64_t output, const v *positive, const v *negative) {
    v planes[32], carry = ~(v){0};
    int bits = (int)t->result_bits, bytes = bits / 8 + 1;
    for (int p = 0; p < bits; p++) {
        planes[p] = positive[p];
        carry = full_add(&planes[p], ~negative[p], carry);
    }
    for (int p = bits; p < 8 * bytes; p++) planes[p] = ~carry;
    int32_t values[LANES];
    uint8_t byte[LANES];
    to_bytes(planes + 8 * (bytes - 1), byte);
    for (int i = 0; i < LANES; i++) values[i] = (int8_t)byte[i];
    for (int b = bytes - 2; b >= 0; b--) {
        to_bytes(planes + 8 * b, byte);
        for (int i = 0; i < LANES; i++) values[i] = (int32_t)((uint32_t)values[i] << 8 | byte[i]);
    }
    int64_t area = t->height * t->width;
    for (int64_t done = 0; done < block->count;) {
        int64_t image = (block->first + done) / area, offset = (block->first + done) % area;
        int64_t length = area - offset < block->count - done ? area - offset : block->count - done;
        int32_t *target = t->result + image * t->result_stride + output * area + offset;
        for (int64_t i = 0; i < length; i++) target[i] += values[done + i];
        done += length;
    }
}

/* ---- Statistics --------------------------------------------------------------------------------------------------- */

/* Adds the histograms of the eight eighths of a block to that of one tile, sign and slice, and clears them. */
static void flush(const Task *t, uint32_t *eighths, int64_t group) {
    for (int64_t bin = 0; bin < t->bins; bin++) {
        int64_t count = 0;
        for (int i = 0; i < 8; i++) count += eighths[i * t->bins + bin];
        if (count) __atomic_fetch_add(&t->histogram[group * t->bins + bin], count, __ATOMIC_RELAXED);
    }
    memset(eighths, 0, 8 * (size_t)t->bins * sizeof *eighths);
}

static void count_sums(const Task *t, const Block *block, int64_t job, uint32_t *eighths) {
    int kept = (int)t->kept[t->job[job][3]];
    for (int64_t cycle = 0; cycle < cycles(t); cycle++) {
        if (cycle_is_empty(t, block, t->job[job][1], cycle)) continue;
        v counter[SUM_BITS] = {{0}};
        count_cycle(t, block, job, cycle, counter, kept, (v){0});
        uint8_t low[LANES], high[LANES] = {0};
        to_bytes(counter, low);
        if (kept > 8) to_bytes(counter + 8, high);
        /* Eight histograms, so that equal sums in a row do not wait for each other. */
        for (int lane = 0; lane < WIDTH; lane++)
            for (int i = 0; i < 8; i++) eighths[i * t->bins + (low[i * WIDTH + lane] | high[i * WIDTH + lane] << 8)]++;
    }
}

/* ---- Interface ---------------------------------------------------------------------------------------------------- */

static int64_t tiles(const Task *t) { return (t->wordlines + t->rows - 1) / t->rows; }

static int open_block(const Task *t, Block *block) {
    void *planes = NULL;
    if (posix_memalign(&planes, WIDTH, (size_t)(tiles(t) * t->input_bits * (t->rows + 1)) * WIDTH)) return 0;
    block->planes = planes;
    block->used = malloc((size_t)tiles(t) * sizeof *block->used);
    if (!block->used) free(planes);
    return block->used != NULL;
}

static void close_block(Block *block) {
    free(block->planes);
    free(block->used);
}

/* Positions of a block. */
int64_t crossbar_lanes(void) { return LANES; }

/* Adds the converted results of some blocks of positions. Returns 0 if memory is short. */
int crossbar_add(const Task *t, int64_t first, int64_t last) {
    Block block;
    if (!open_block(t, &block)) return 0;
    for (int64_t index = first; index < last; index++) {
        pack(t, &block, index);
        for (int64_t job = 0; job < t->jobs;) {
            int32_t output = t->job[job][0];
            v sum[2][32] = {{{0}}};
            for (; job < t->jobs && t->job[job][0] == output; job++)
                convert(t, &block, job, sum[t->job[job][2] ^ t->negative]);
            write_output(t, &block, output, sum[0], sum[1]);
        }
    }
    close_block(&block);
    return 1;
}

/* Counts the bitline sums of some blocks; sum 0 is left out of account. Returns 0 if memory is short. */
int crossbar_statistics(const Task *t, int64_t first, int64_t last) {
    Block block;
    uint32_t *eighths = calloc(8 * (size_t)t->bins, sizeof *eighths);
    int ready = eighths && open_block(t, &block);
    for (int64_t index = first; ready && index < last; index++) {
        pack(t, &block, index);
        for (int64_t i = 0; i < t->jobs; i++) {
            const int32_t *where = t->job[t->order[i]], *next = i + 1 < t->jobs ? t->job[t->order[i + 1]] : NULL;
            count_sums(t, &block, t->order[i], eighths);
            if (!next || memcmp(where + 1, next + 1, 3 * sizeof *where))
                flush(t, eighths, (where[1] * 2 + where[2]) * t->slices + where[3]);
        }
    }
    if (ready) close_block(&block);
    free(eighths);
    return ready;
}
