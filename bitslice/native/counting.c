/* Counting: carry-save adders over lists of rows. */

#include "crossbar.h"

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

void count_cycles(const Task *t, const Block *block, int64_t job, int64_t cycle, v (*counter)[ABREAST], int kept,
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
