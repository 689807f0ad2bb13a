/* Elementwise passes: those of a training step, the quantizer's and bit-slice L1's, and those of a layer on crossbars,
   from floats. All bit for bit as torch computes them.

   Scaling by a power of two is exact, and adding 2^23 to a magnitude below it leaves no fraction: the sum is rounded to
   nearest, ties to even. Comparisons are written so that NaN passes.

   Every pass takes the number of threads it may use. They are torch's own: the library is compiled for OpenMP but not
   linked with it, so that torch's runtime, already loaded, is the one that it finds. */

#include <stdint.h>
#include <string.h>

enum { STRIP = 1024 };   /* elements worked on at a time; their codes stay in the first-level cache */
enum { GRAIN = 1 << 15 }; /* elements that take a thread about as long as waking it does */

static inline int team(int64_t count, int threads)
{
    return count / GRAIN < threads ? (int)(count / GRAIN) + (count < GRAIN) : threads;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Without their sign floats sort as integers. Adding the full mantissa carries into the exponent unless the mantissa is
   zero: a ceiling to a power of two. (Of NaN it makes zero, and so of every code.) */
static inline float step_of(int32_t largest, float smallest_range, int bits)
{
    uint32_t range = (uint32_t)largest > bits_of(smallest_range) ? (uint32_t)largest : bits_of(smallest_range);
    return float_of((range + 0x7FFFFF) & 0x7F800000) / (float)(1 << bits);
}

/* The step 2^(ceil(log2 max(|x|, smallest_range)) - bits). */
float power_of_two_step_float32(const int32_t *x, int64_t count, float smallest_range, int bits, int threads)
{
    int32_t largest = 0;
#pragma omp parallel for simd reduction(max : largest) num_threads(team(count, threads))
    for (int64_t i = 0; i < count; i++) {
        int32_t magnitude = x[i] & 0x7FFFFFFF;
        largest = magnitude > largest ? magnitude : largest;
    }
    return step_of(largest, smallest_range, bits);
}

float power_of_two_step_bfloat16(const int16_t *x, int64_t count, float smallest_range, int bits, int threads)
{
    int16_t largest = 0;
#pragma omp parallel for simd reduction(max : largest) num_threads(team(count, threads))
    for (int64_t i = 0; i < count; i++) {
        int16_t magnitude = x[i] & 0x7FFF;
        largest = magnitude > largest ? magnitude : largest;
    }
    return step_of((int32_t)largest << 16, smallest_range, bits);
}

/* Magnitude of the code of x, still a float. */
static inline float code_of(float x, float scale, float largest_code, int floor)
{
    float magnitude = float_of(bits_of(x) & 0x7FFFFFFF) * scale;
    magnitude = magnitude > largest_code ? largest_code : magnitude;
    float code = (magnitude + 0x1p23f) - 0x1p23f;
    return floor && code > magnitude ? code - 1.0f : code;
}

static inline float fake_quantized(float x, float step, float scale, float largest_code, int floor)
{
    return float_of(bits_of(code_of(x, scale, largest_code, floor) * step) | (bits_of(x) & 0x80000000));
}

static inline void float32_pass(const float *x, float *y, int64_t count, float step, float largest_code, int floor,
                                int threads)
{
    float scale = 1.0f / step;
#pragma omp parallel for simd num_threads(team(count, threads))
    for (int64_t i = 0; i < count; i++)
        y[i] = fake_quantized(x[i], step, scale, largest_code, floor);
}

void fake_quantize_float32(const float *x, float *y, int64_t count, float step, float largest_code, int floor,
                           int threads)
{
    if (floor)
        float32_pass(x, y, count, step, largest_code, 1, threads);
    else
        float32_pass(x, y, count, step, largest_code, 0, threads);
}

static inline void bfloat16_pass(const uint16_t *x, uint16_t *y, int64_t count, float step, float largest_code,
                                 int floor, int threads)
{
    float scale = 1.0f / step;
#pragma omp parallel for simd num_threads(team(count, threads))
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(fake_quantized(float_of((uint32_t)x[i] << 16), step, scale, largest_code, floor));
        y[i] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
    }
}

void fake_quantize_bfloat16(const uint16_t *x, uint16_t *y, int64_t count, float step, float largest_code, int floor,
                           int threads)
{
    if (floor)
        bfloat16_pass(x, y, count, step, largest_code, 1, threads);
    else
        bfloat16_pass(x, y, count, step, largest_code, 0, threads);
}

/* Codes of up to STRIP weights; 0 for those that have diverged to NaN. */
static inline void codes_of(const float *w, int32_t *codes, int count, float scale, float largest_code)
{
    for (int i = 0; i < count; i++) {
        float code = code_of(w[i], scale, largest_code, 0);
        codes[i] = code == code ? (int32_t)code : 0;
    }
}

/* Sum of all slices of all weights' codes. */
int64_t slice_sum(const float *w, int64_t count, float step, int bits, int cell_bits, int threads)
{
    int32_t cell = (1 << cell_bits) - 1;
    int64_t total = 0;
#pragma omp parallel for reduction(+ : total) num_threads(team(count, threads))
    for (int64_t first = 0; first < count; first += STRIP) {
        int32_t codes[STRIP];
        int size = count - first < STRIP ? (int)(count - first) : STRIP;
        codes_of(w + first, codes, size, 1.0f / step, (float)((1 << bits) - 1));
        int32_t sum = 0; /* at most 2^10 codes below 2^16 */
        for (int shift = 0; shift < bits; shift += cell_bits)
            for (int i = 0; i < size; i++)
                sum += codes[i] >> shift & cell;
        total += sum;
    }
    return total;
}

/* Pull of bit-slice L1 on every weight: strength * sign * sum over the slices that are not zero of 2^-(their place). */
void slice_pull(const float *w, float *pull, int64_t count, float step, int bits, int cell_bits, float strength,
                int threads)
{
    int32_t cell = (1 << cell_bits) - 1;
    float unit = 1.0f / (float)(1 << (bits - cell_bits)); /* of the sums: the pull of the most significant slice */
#pragma omp parallel for num_threads(team(count, threads))
    for (int64_t first = 0; first < count; first += STRIP) {
        int32_t codes[STRIP], pulls[STRIP] = {0};
        int size = count - first < STRIP ? (int)(count - first) : STRIP;
        codes_of(w + first, codes, size, 1.0f / step, (float)((1 << bits) - 1));
        for (int shift = 0; shift < bits; shift += cell_bits) {
            int32_t slice = cell << shift, weight = 1 << (bits - cell_bits - shift);
            for (int i = 0; i < size; i++)
                pulls[i] += codes[i] & slice ? weight : 0;
        }
        for (int i = 0; i < size; i++) {
            int32_t sum = w[first + i] < 0.0f ? -pulls[i] : pulls[i];
            pull[first + i] = (float)sum * unit * strength;
        }
    }
}

/* Bytes that whole multiples of 1 / scale are; returns whether one is negative. */
int bytes_of(const float *x, uint8_t *bytes, int64_t count, float scale, int threads)
{
    int negative = 0;
#pragma omp parallel for simd reduction(| : negative) num_threads(team(count, threads))
    for (int64_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(int32_t)(x[i] * scale);
        negative |= x[i] < 0.0f;
    }
    return negative;
}
