/* Clipping ADCs on crossbars, by vertical counters.

   One vector holds one bit of many positions, that is of many vectors of the matrix product: lanes are positions. An
   input bit plane of a wordline is such a vector, and the sum on a bitline is a number whose bit p, at all positions, is
   the vector plane[p]. Carry-save adders add the rows, from lists of the rows whose cell has a bit set, so that work
   follows the cell bits that are set. Only the planes that the ADC keeps are counted; what leaves them is ORed into one
   overflow plane, and a lane in it has clipped.

   Lane 8 t + i of a plane is position i WIDTH + t of its block: so 8 vectors of bytes, in the order of positions, and
   8 planes turn into each other by one transposition. */

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
    const int64_t *dropped;    /* per slice: how many of them lie below the ADC's step */
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
static void transpose(v m[8])
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

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t cycles(const Task *t)
{
    return (t->input_bits + t->dac_bits - 1) / t->dac_bits;
}

static int64_t tiles(const Task *t)
{
    return (t->wordlines + t->rows - 1) / t->rows;
}

static int64_t blocks(const Task *t)
{
    return (t->images * t->height * t->width + LANES - 1) / LANES;
}

/* ---- Packing: from codes to bit planes ---- */

/* Positions of a block whose codes are adjacent, for every wordline alike. */
typedef struct {
    int64_t from, to, length;
} Run;

static int cut_runs(const Task *t, const Block *block, Run *runs)
{
    int count = 0;
    for (int64_t to = 0; to < block->count; to += runs[count++].length) {
        int64_t position = block->first + to, row = position / t->width, x = position % t->width;
        int64_t from = row / t->height * t->image_stride + row % t->height * t->row_stride + x;
        runs[count] = (Run){from, to, least(t->width - x, block->count - to)};
    }
    return count;
}

static void pack(const Task *t, Block *block, int64_t index)
{
    Run runs[LANES];
    union {
        v vectors[8];
        uint8_t bytes[LANES + CHUNK];
    } codes;
    block->first = index * LANES;
    block->count = least(t->images * t->height * t->width - block->first, LANES);
    int run_count = cut_runs(t, block, runs);
    for (int i = 0; i < LANES; i++)
        codes.bytes[i] = i < block->count;
    transpose(codes.vectors);
    v valid = codes.vectors[0], any[INPUT_BITS];

    for (int64_t wordline = 0; wordline < t->wordlines; wordline++) {
        int64_t tile = wordline / t->rows, row = wordline % t->rows;
        if (row == 0) {
            block->used[tile] = 0;
            memset(any, 0, sizeof any);
        }
        for (int64_t low = 0; low < t->input_bits; low += 8) {
            const uint8_t *source = t->codes + low / 8 * t->byte_stride + t->wordline[wordline];
            for (const Run *run = runs; run < runs + run_count; run++)
                for (int64_t i = 0; i < run->length; i += CHUNK)
                    memcpy(codes.bytes + run->to + i, source + run->from + i, CHUNK);
            transpose(codes.vectors);
            v *plane = block->planes + (tile * block->plane_count + low) * (t->rows + 1) + row;
            for (int64_t bit = low; bit < least(t->input_bits, low + 8); bit++, plane += t->rows + 1)
                any[bit] |= *plane = codes.vectors[bit - low] & valid;
        }
        if (row == t->rows - 1 || wordline == t->wordlines - 1)
            for (int64_t bit = 0; bit < t->input_bits; bit++)
                for (int word = 0; word < WIDTH / 8; word++)
                    block->used[tile] |= (uint64_t)(any[bit][word] != 0) << bit;
    }
}

/* ---- Counting ---- */

/* Adds two vectors of weight 2^level; returns their carry, or what they overflow by where no such plane is kept. */
INLINE v add_pair(v *plane, int planes, int level, v a, v b)
{
    return level < planes ? full_add(&plane[level], a, b) : a | b;
}

INLINE v add_2(v *plane, int planes, const v *rows, const uint16_t *i)
{
    return add_pair(plane, planes, 0, rows[i[0]], rows[i[1]]);
}

INLINE v add_4(v *plane, int planes, const v *rows, const uint16_t *i)
{
    return add_pair(plane, planes, 1, add_2(plane, planes, rows, i), add_2(plane, planes, rows, i + 2));
}

INLINE v add_8(v *plane, int planes, const v *rows, const uint16_t *i)
{
    return add_pair(plane, planes, 2, add_4(plane, planes, rows, i), add_4(plane, planes, rows, i + 4));
}

/* Adds the listed rows to the counters of the cycles abreast, whose rows lie `stride` apart. */
INLINE void count_rows(v (*counter)[ABREAST], int planes, v *overflow, const v *rows, int64_t stride, const uint16_t *i,
                       int64_t count)
{
    v plane[ABREAST][SUM_BITS], out[ABREAST];
    for (int c = 0; c < ABREAST; c++) {
        out[c] = overflow[c];
        for (int p = 0; p < planes; p++)
            plane[c][p] = counter[p][c];
    }
    for (; count >= 8; count -= 8, i += 8)
        for (int c = 0; c < ABREAST; c++)
            out[c] |= ripple(plane[c], planes, 3, add_8(plane[c], planes, rows + c * stride, i));
    if (count & 4) {
        for (int c = 0; c < ABREAST; c++)
            out[c] |= ripple(plane[c], planes, 2, add_4(plane[c], planes, rows + c * stride, i));
        i += 4;
    }
    if (count & 2)
        for (int c = 0; c < ABREAST; c++)
            out[c] |= ripple(plane[c], planes, 1, add_2(plane[c], planes, rows + c * stride, i));
    for (int c = 0; c < ABREAST; c++) {
        overflow[c] = out[c];
        for (int p = 0; p < planes; p++)
            counter[p][c] = plane[c][p];
    }
}

/* The same, with the number of planes known to the compiler, so that they stay in registers. */
static void count_list(v (*counter)[ABREAST], int planes, v *overflow, const v *rows, int64_t stride, const uint16_t *i,
                       int64_t count)
{
#define PLANES(n) case n: count_rows(counter, n, overflow, rows, stride, i, count); break
    switch (planes) {
        PLANES(0); PLANES(1); PLANES(2); PLANES(3); PLANES(4); PLANES(5); PLANES(6); PLANES(7); PLANES(8);
        default: count_rows(counter, planes, overflow, rows, stride, i, count);
    }
#undef PLANES
}

/* Adds a column's bitline sums of `cycle` and those abreast to counters. */
static void count_cycles(const Task *t, const Block *block, int64_t job, int64_t cycle, v (*counter)[ABREAST], int kept,
                         v *overflow)
{
    int64_t plane = t->rows + 1;
    const v *rows = block->planes + (t->job[job][1] * block->plane_count + cycle * t->dac_bits) * plane;
    const int64_t *list = t->lists + job * t->cell_bits;
    for (int64_t b = 0; b < t->cell_bits; b++)
        for (int64_t d = 0; d < t->dac_bits && list[b] < list[b + 1]; d++) {
            int level = (int)least(b + d, kept);
            count_list(counter + level, kept - level, overflow, rows + d * plane, t->dac_bits * plane,
                       t->indices + list[b], list[b + 1] - list[b]);
        }
}

/* Whether no wordline of a job is driven in `cycle` and those abreast. */
static int idle(const Task *t, const Block *block, int64_t job, int64_t cycle)
{
    return !(block->used[t->job[job][1]] >> cycle * t->dac_bits & ((UINT64_C(1) << ABREAST * t->dac_bits) - 1));
}

/* Adds one column's conversions, over all cycles, to the sum of its output and sign. */
static void convert(const Task *t, const Block *block, int64_t job, v *sum)
{
    int64_t slice = t->job[job][3];
    int kept = (int)t->kept[slice], dropped = (int)t->dropped[slice], bits = kept - dropped;
    int counted = kept == 1 && !dropped ? 0 : kept; /* one bit that saturates is what overflows no bits: an OR */
    int end = (int)(block->plane_count - t->dac_bits) + bits + 1, low = (int)(t->cell_bits * slice) + dropped;
    v value[VALUE_BITS], carry = {0};
    for (int p = 0; p < end; p++)
        value[p] = (v){0};
    for (int64_t cycle = 0; cycle < cycles(t); cycle += ABREAST) {
        if (idle(t, block, job, cycle))
            continue;
        v counter[SUM_BITS][ABREAST], overflow[ABREAST] = {{0}};
        for (int p = 0; p < kept; p++)
            for (int c = 0; c < ABREAST; c++)
                counter[p][c] = p == dropped - 1 ? ~(v){0} : (v){0}; /* half a step, to round */
        count_cycles(t, block, job, cycle, counter, counted, overflow);
        /* Cycles come in the order of their weight, so that the last carry always meets an empty plane. */
        for (int c = 0; c < ABREAST; c++) {
            v *at = value + (cycle + c) * t->dac_bits, last = {0};
            for (int p = 0; p < bits; p++)
                last = full_add(&at[p], counter[dropped + p][c] | overflow[c], last);
            at[bits] = last;
        }
    }
    for (int p = low; p < t->result_bits; p++)
        carry = p < low + end ? full_add(&sum[p], value[p - low], carry) : ripple(sum, p + 1, p, carry);
}

/* ---- Results and statistics ---- */

/* One byte of every position's number, from 8 planes. */
static void to_bytes(const v *planes, uint8_t *bytes)
{
    v m[8];
    memcpy(m, planes, sizeof m);
    transpose(m);
    memcpy(bytes, m, sizeof m);
}

/* Adds positive - negative, two sums of planes, to the result of one output. */
static void write_output(const Task *t, const Block *block, int64_t output, const v *positive, const v *negative)
{
    v difference[RESULT_BITS], carry = ~(v){0}; /* two's complement: a + ~b + 1 */
    int32_t values[LANES];
    uint8_t bytes[LANES];
    int high = (int)t->result_bits / 8;
    for (int p = 0; p < 8 * (high + 1); p++)
        if (p < t->result_bits) {
            difference[p] = positive[p];
            carry = full_add(&difference[p], ~negative[p], carry);
        } else
            difference[p] = ~carry;
    to_bytes(difference + 8 * high, bytes);
    for (int i = 0; i < LANES; i++)
        values[i] = (int8_t)bytes[i];
    for (int byte = high - 1; byte >= 0; byte--) {
        to_bytes(difference + 8 * byte, bytes);
        for (int i = 0; i < LANES; i++)
            values[i] = values[i] * 256 + bytes[i];
    }
    int64_t area = t->height * t->width;
    for (int64_t done = 0, length; done < block->count; done += length) {
        int64_t image = (block->first + done) / area, offset = (block->first + done) % area;
        int32_t *result = t->result + image * t->result_stride + output * area + offset;
        length = least(area - offset, block->count - done);
        for (int64_t i = 0; i < length; i++)
            result[i] += values[done + i];
    }
}

/* Counts a column's sums in eight histograms, so that equal sums in a row do not wait for each other. */
static void count_sums(const Task *t, const Block *block, int64_t job, uint32_t *histograms)
{
    for (int64_t cycle = 0; cycle < cycles(t); cycle += ABREAST) {
        if (idle(t, block, job, cycle))
            continue;
        v counter[SUM_BITS][ABREAST] = {{{0}}}, overflow[ABREAST], planes[16];
        uint8_t low[LANES], high[LANES];
        count_cycles(t, block, job, cycle, counter, (int)t->kept[t->job[job][3]], overflow);
        for (int c = 0; c < ABREAST; c++) {
            for (int p = 0; p < 16; p++)
                planes[p] = counter[p][c];
            to_bytes(planes, low);
            to_bytes(planes + 8, high);
            for (int i = 0; i < WIDTH; i++)
                for (int lane = i, h = 0; h < 8; h++, lane += WIDTH)
                    histograms[h * t->bins + (low[lane] | high[lane] << 8)]++;
        }
    }
}

/* Moves what the eight histograms counted to that of a job's tile, sign and slice. */
static void flush(const Task *t, int64_t job, uint32_t *histograms)
{
    const int32_t *where = t->job[job];
    int64_t *target = t->histogram + ((where[1] * 2 + where[2]) * t->slices + where[3]) * t->bins;
    for (int64_t bin = 1; bin < t->bins; bin++) {
        int64_t count = 0;
        for (int h = 0; h < 8; h++)
            count += histograms[h * t->bins + bin];
        if (count)
            __atomic_fetch_add(&target[bin], count, __ATOMIC_RELAXED);
    }
    memset(histograms, 0, 8 * (size_t)t->bins * sizeof *histograms);
}

/* ---- Mapping ---- */

/* A cell that is not empty: its row and the magnitude of the code that it holds a slice of. */
typedef struct {
    int32_t row, magnitude;
} Held;

/* Lists the rows whose cell has a bit set, of every chosen bitline that holds such a cell. Returns how many bitlines
   these are, or -1 if memory is short. */
int64_t crossbar_row_lists(const int32_t *codes,   /* signed: (outputs, tiles, rows) */
                           const uint8_t *chosen,  /* (outputs, tiles, 2 signs, slices) */
                           int32_t (*job)[4],      /* output, tile, sign, slice of each, in this order */
                           int64_t *sums,          /* of its cells */
                           int64_t *lists, uint16_t *indices, /* as in a Task; indices have room for one more */
                           int64_t outputs, int64_t tiles, int64_t rows, int64_t slices, int64_t cell_bits)
{
    int64_t jobs = 0, end = 0;
    Held *of_signs = malloc(2 * (size_t)rows * sizeof *of_signs);
    if (!of_signs)
        return -1;
    lists[0] = 0;
    for (int64_t column = 0; column < outputs * tiles; column++, codes += rows, chosen += 2 * slices) {
        int64_t count[2] = {0, 0};
        for (int64_t row = 0; row < rows; row++)
            if (codes[row]) {
                int sign = codes[row] < 0;
                of_signs[sign * rows + count[sign]++] = (Held){(int32_t)row, abs(codes[row])};
            }
        for (int sign = 0; sign < 2; sign++)
            for (int64_t slice = 0; slice < slices; slice++) {
                if (!chosen[sign * slices + slice])
                    continue;
                const Held *held = of_signs + sign * rows;
                int64_t sum = 0;
                for (int64_t b = 0; b < cell_bits; b++) {
                    int64_t start = end, bit = slice * cell_bits + b;
                    for (int64_t i = 0; i < count[sign]; i++) { /* without a branch: what is not set is written over */
                        indices[end] = (uint16_t)held[i].row;
                        end += held[i].magnitude >> bit & 1;
                    }
                    sum += (end - start) << b;
                    if ((end - start) & 1)
                        indices[end++] = (uint16_t)rows;
                    lists[jobs * cell_bits + b + 1] = end;
                }
                if (!sum)
                    continue;
                const int32_t found[] = {(int32_t)(column / tiles), (int32_t)(column % tiles), sign, (int32_t)slice};
                memcpy(job[jobs], found, sizeof found);
                sums[jobs++] = sum;
            }
    }
    free(of_signs);
    return jobs;
}

/* ---- Interface ---- */

static int open_block(const Task *t, Block *block)
{
    block->plane_count = (cycles(t) + ABREAST - 1) / ABREAST * ABREAST * t->dac_bits;
    size_t size = (size_t)(tiles(t) * block->plane_count * (t->rows + 1)) * WIDTH;
    block->planes = aligned_alloc(WIDTH, size);
    block->used = malloc((size_t)tiles(t) * sizeof *block->used);
    if (!block->planes || !block->used)
        return 0;
    memset(block->planes, 0, size);
    return 1;
}

static void close_block(Block *block)
{
    free(block->planes);
    free(block->used);
}

/* Adds the converted results of all positions, in blocks. Returns 0 if memory is short. */
int crossbar_add(const Task *t, int threads)
{
    int ready = 1;
#pragma omp parallel num_threads(threads) reduction(&& : ready)
    {
        Block block;
        ready = open_block(t, &block);
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < blocks(t); index++) {
            if (!ready)
                continue;
            pack(t, &block, index);
            for (int64_t job = 0; job < t->jobs;) {
                v sum[2][RESULT_BITS];
                int32_t output = t->job[job][0];
                for (int p = 0; p < t->result_bits; p++)
                    sum[0][p] = sum[1][p] = (v){0};
                for (; job < t->jobs && t->job[job][0] == output; job++)
                    convert(t, &block, job, sum[t->job[job][2] ^ t->negative]);
                write_output(t, &block, output, sum[0], sum[1]);
            }
        }
        close_block(&block);
    }
    return ready;
}

/* Counts the bitline sums of all positions. Returns 0 if memory is short. */
int crossbar_statistics(const Task *t, int threads)
{
    int ready = 1;
#pragma omp parallel num_threads(threads) reduction(&& : ready)
    {
        Block block;
        uint32_t *histograms = calloc(8 * (size_t)t->bins, sizeof *histograms);
        ready = open_block(t, &block) && histograms;
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < blocks(t); index++) {
            if (!ready)
                continue;
            pack(t, &block, index);
            for (int64_t i = 0; i < t->jobs; i++) {
                int64_t job = t->order[i];
                count_sums(t, &block, job, histograms);
                if (i == t->jobs - 1 || memcmp(t->job[job] + 1, t->job[t->order[i + 1]] + 1, 3 * sizeof(int32_t)))
                    flush(t, job, histograms);
            }
        }
        close_block(&block);
        free(histograms);
    }
    return ready;
}
