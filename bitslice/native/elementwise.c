/* Elementwise passes of a training step: the quantizer's and bit-slice L1's. */

#include <stdint.h>
