/* Which of the vector levels that this library is built at does the CPU it runs on have? */

#if defined(__x86_64__) || defined(__i386__)
#define HAS(feature) __builtin_cpu_supports(feature)

/* The number of levels beyond the baseline: 1 is x86-64-v3, 2 is x86-64-v4 with vector population counts. */
int vector_levels(void)
{
    __builtin_cpu_init();
    if (!(HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2")))
        return 0;
    return 1 + (HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl")
                && HAS("avx512vpopcntdq"));
}
#else
int vector_levels(void)
{
    return 0;
}
#endif
