/* Converted bitline sums of a crossbar by vertical counters. */

#include <stdint.h>
