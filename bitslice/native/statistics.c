/* Statistics: how often each bitline sum reached the ADCs. */

#include "crossbar.h"

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
