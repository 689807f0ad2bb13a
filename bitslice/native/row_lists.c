/* Row lists: which rows of each simulated bitline have a cell bit set. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
