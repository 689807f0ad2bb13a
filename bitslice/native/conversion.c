/* Conversion: what the ADCs make of the sums, shifted, added and written out. */

#include "crossbar.h"

/* Adds one column's conversions, over all cycles, to the sum of its output and sign. */
static void convert(const Task *t, const Block *block, int64_t job, v *sum)
{
    int64_t slice = t->job[job][3];
    int kept = (int)t->kept[slice], dropped = (int)t->dropped[slice], bits = kept - dropped;
    int counted = kept == 1 && !dropped ? 0 : kept; /* one bit that saturates is what overflows no bits: an OR */
    int end = (int)(block->plane_count - t->dac_bits) + bits + 1, low = (int)(t->cell_bits * slice + t->place[slice]);
    v value[VALUE_BITS], carry = {0};
    for (int p = 0; p < end; p++)
        value[p] = (v){0};
    for (int64_t cycle = 0; cycle < cycles(t); cycle += ABREAST) {
        if (idle(t, block, job, cycle))
            continue;
        v counter[SUM_BITS][ABREAST], overflow[ABREAST] = {{0}};
        for (int p = 0; p < kept; p++)
            for (int c = 0; c < ABREAST; c++)
                counter[p][c] = t->start[slice] >> p & 1 ? ~(v){0} : (v){0};
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
