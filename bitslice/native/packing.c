/* Packing: from input codes to bit planes. */

#include "crossbar.h"

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

void pack(const Task *t, Block *block, int64_t index)
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

int open_block(const Task *t, Block *block)
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

void close_block(Block *block)
{
    free(block->planes);
    free(block->used);
}
