"""Python side of the C around ``crossbar.h``: the exact simulation of clipping ADCs by vertical counters, on a CPU."""

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import bitslice.native as native
from bitslice.crossbar.adc import Adc
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.unfold import Unfold
from bitslice.errors import BitsliceError
from bitslice.slices import magnitudes, slice_count

CHUNK = 16
"""Bytes that the kernel copies at a time, so that it may read beyond the last code; ``CHUNK`` of ``crossbar.h``."""

LARGEST_COUNTED = 65535
"""Largest sum of its statistics: two bytes."""


class Task(ctypes.Structure):
    """What a call of the kernel works on: ``Task`` of ``crossbar.h``, which says what the fields are.

    Arrays are passed by address; the task keeps them alive.
    """

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("codes", "wordline")),
        *((name, ctypes.c_int64) for name in ("wordlines", "rows", "input_bits", "byte_stride")),
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "image_stride", "row_stride")),
        *((name, ctypes.c_int64) for name in ("jobs", "cell_bits", "dac_bits", "slices")),
        *((name, ctypes.c_void_p) for name in ("job", "lists", "indices", "kept", "dropped", "start", "place")),
        ("result_bits", ctypes.c_int64),
        ("result", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("result_stride", "negative")),
        *((name, ctypes.c_void_p) for name in ("order", "histogram")),
        ("bins", ctypes.c_int64),
    ]

    def __init__(self, **fields: int | np.ndarray) -> None:
        super().__init__(**{k: v.ctypes.data if isinstance(v, np.ndarray) else v for k, v in fields.items()})
        self.fields = fields


@dataclass(frozen=True)
class Driven:
    """Padded input codes as the kernel reads them.

    Attributes:
        codes: bytes ``(bytes of a code, images, channels, height, stride, width)``, the low ones first. Columns that
            are equal modulo the stride lie side by side, so that a wordline's codes for adjacent outputs are adjacent.
        wordline: offset of every wordline's first code.
        byte_stride: from a low byte to its high one.
        image_stride: from image to image.
        row_stride: from a row of outputs to the next.
    """

    codes: np.ndarray
    wordline: np.ndarray
    byte_stride: int
    image_stride: int
    row_stride: int

    @classmethod
    def of(cls, words: np.ndarray, unfold: Unfold, padding: int, order: np.ndarray) -> "Driven":
        """Lays out ``words`` of ``(images, channels, height, width)``, ``padding`` around; wordlines in ``order``."""
        images, channels, height, width = words.shape
        (top, left), (down, stride) = unfold.padding, unfold.stride
        shape = (words.itemsize, images, channels, height + 2 * top, stride, -(-(width + 2 * left) // stride))
        memory = np.empty(int(np.prod(shape)) + CHUNK, np.uint8)
        codes = memory[:-CHUNK].reshape(shape)
        parts = np.ascontiguousarray(words)[..., None].view(np.uint8)
        for low, plane in enumerate(codes):
            plane[:] = padding >> 8 * low & 255
            for remainder in range(stride):
                first = (remainder - left) % stride
                part, at = parts[..., first::stride, low], (first + left) // stride
                plane[:, :, top : top + height, remainder, at : at + part.shape[3]] = part
        byte, image, channel, row, column, _ = codes.strides
        y, x = (np.arange(size) * step for size, step in zip(unfold.kernel, unfold.dilation, strict=True))
        wordline = np.arange(channels)[:, None, None] * channel + y[:, None] * row + x % stride * column + x // stride
        return cls(memory, wordline.ravel()[order], byte, image, down * row)


class Counters:
    """Adds what the simulated bitlines of one matrix give, by vertical counters.

    Args:
        codes: signed weight codes, int32 ``(wordlines, outputs)``.
        simulated: which bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``.
        adcs: of every slice, B0 first.
        crossbar: geometry.
        bits: magnitude bits of a weight.

    Raises:
        BitsliceError: if shapes do not fit each other, tiles or ADC steps are larger than the counters hold, or a
            step is no power of two.
    """

    def __init__(self, codes: Tensor, simulated: Tensor, adcs: tuple[Adc, ...], crossbar: Crossbar, bits: int) -> None:
        self.wordlines, self.outputs = codes.shape
        tiles = crossbar.tiles(self.wordlines)
        self.crossbar, self.rows, self.order = crossbar, len(tiles[0]), torch.cat(tiles)
        if self.rows > np.iinfo(np.uint16).max:
            raise BitsliceError(f"a simulated tile has at most 65535 rows, not {self.rows}")
        slices = slice_count(bits, crossbar.cell_bits)
        self.shape = (len(tiles), 2, slices)
        if simulated.shape != (*self.shape, self.outputs) or len(adcs) != slices:
            raise BitsliceError(
                f"{tuple(simulated.shape)} bitlines and {len(adcs)} ADCs do not fit {(*self.shape, self.outputs)}"
            )
        columns = nn.functional.pad(codes[self.order].T, (0, len(tiles) * self.rows - self.wordlines))
        self.jobs, sums, self.lists, self.indices = row_lists(
            columns.unflatten(1, (-1, self.rows)), simulated.permute(3, 0, 1, 2), bits, crossbar.cell_bits
        )
        bounds = torch.zeros(self.outputs, *self.shape, dtype=torch.int64)  # output, tile, sign, slice
        bounds[tuple(torch.from_numpy(self.jobs).long().T)] = torch.from_numpy(sums) * crossbar.largest_digit
        planes = [counter_planes(int(bounds[..., k].max()), adc) for k, adc in enumerate(adcs)]
        self.planes = dict(zip(("kept", "dropped", "start", "place"), np.array(planes, np.int64).T.copy(), strict=True))
        converted = torch.stack([adc.convert(bounds[..., k]) for k, adc in enumerate(adcs)], dim=3)
        weighted = converted << crossbar.cell_bits * torch.arange(len(adcs))
        self.largest = int(weighted.sum(dim=(1, 3)).max())

    def add(self, result: Tensor, codes: Tensor, unfold: Unfold, bits: int, sign: int = 1, padding: int = 0) -> None:
        """Add one phase's converted product, times ``sign``, to ``result`` in place.

        Args:
            result: int32 ``(images, outputs, out_height, out_width)``; each image is contiguous.
            codes: non-negative input codes ``(images, channels, height, width)``, uint8 up to 8 bits, else uint16.
            unfold: how they become input vectors.
            bits: of an input word, at most 16.
            sign: +1 or -1.
            padding: code of a padding pixel.

        Raises:
            BitsliceError: if a tensor has another shape or type, or the result might not fit 32 bits.
        """
        cycles = self.crossbar.cycles(bits)
        largest = self.largest * sum(2 ** (self.crossbar.dac_bits * cycle) for cycle in range(cycles))
        if largest >= 2**31:
            raise BitsliceError(f"an output may sum to {largest} on the crossbar, beyond the largest int32, 2^31 - 1")
        shape = (len(codes), self.outputs, *unfold.output_size(*codes.shape[2:]))
        if result.dtype != torch.int32 or result.shape != shape or not result[:1].is_contiguous():
            raise BitsliceError(
                f"the result must be contiguous int32 {shape}, not {result.dtype} {tuple(result.shape)}"
            )
        self._run(
            "crossbar_add",
            codes,
            unfold,
            bits,
            padding,
            **self.planes,
            result_bits=largest.bit_length(),
            result=result.numpy(),
            result_stride=result.stride(0),
            negative=int(sign < 0),
        )

    def apart(self) -> "Counters":
        """These counters, that from now on add ``(outputs, tiles, 2 signs)``: each array's own, minus ones times -1."""
        tiles = self.shape[0]
        self.jobs[:, 0] = (self.jobs[:, 0] * tiles + self.jobs[:, 1]) * 2 + self.jobs[:, 2]
        self.outputs *= 2 * tiles
        return self

    def statistics(self, codes: Tensor, unfold: Unfold, bits: int, padding: int = 0) -> Tensor:
        """Histograms of the sums on the simulated bitlines, before any ADC; arguments as of :meth:`add`.

        Returns:
            int64 ``(tiles, 2 signs, slices, largest sum + 1)``: how many conversions gave each sum. Every output
            counts, in every cycle and at every position; a bitline that is not simulated counts as 0.

        Raises:
            BitsliceError: if a tensor has another shape or type, or a sum could exceed 65535.
        """
        largest = self.rows * (2**self.crossbar.cell_bits - 1) * self.crossbar.largest_digit
        if largest > LARGEST_COUNTED:
            raise BitsliceError(f"statistics count sums up to {LARGEST_COUNTED}, not {largest}")
        histogram = torch.zeros(*self.shape, largest + 1, dtype=torch.int64)
        positions = self._run(
            "crossbar_statistics",
            codes,
            unfold,
            bits,
            padding,
            kept=np.full(self.shape[2], largest.bit_length(), np.int64),
            order=np.lexsort(self.jobs.T[[3, 2, 1]]).astype(np.int32),
            histogram=histogram.numpy(),
            bins=largest + 1,
        )
        conversions = self.outputs * self.crossbar.cycles(bits) * positions
        histogram[..., 0] = conversions - histogram.sum(dim=3)
        return histogram

    def _run(
        self, name: str, codes: Tensor, unfold: Unfold, bits: int, padding: int, **fields: int | np.ndarray
    ) -> int:
        """Call a kernel on all positions, in blocks; returns how many positions there are."""
        if not 1 <= bits <= 16 or codes.dtype != (torch.uint8 if bits <= 8 else torch.uint16):
            raise BitsliceError(f"inputs up to 8 bits are uint8, up to 16 uint16; {bits} bits came as {codes.dtype}")
        if codes.shape[1] * unfold.kernel[0] * unfold.kernel[1] != self.wordlines:
            raise BitsliceError(
                f"{codes.shape[1]} channels under a kernel of {unfold.kernel} are not {self.wordlines} wordlines"
            )
        words = codes.numpy()
        if bits < 8 * words.itemsize and words.max(initial=0) >= 2**bits:
            raise BitsliceError(f"input code {words.max()} does not fit {bits} bits")
        height, width = unfold.output_size(*codes.shape[2:])
        if min(height, width) < 1:
            raise BitsliceError(f"images of {tuple(codes.shape[2:])} are smaller than a kernel of {unfold.kernel}")
        driven = Driven.of(words, unfold, padding, self.order.numpy())
        task = Task(
            **vars(driven),
            **fields,
            wordlines=self.wordlines,
            rows=self.rows,
            input_bits=bits,
            images=len(codes),
            height=height,
            width=width,
            jobs=len(self.jobs),
            cell_bits=self.crossbar.cell_bits,
            dac_bits=self.crossbar.dac_bits,
            slices=self.shape[2],
            job=self.jobs,
            lists=self.lists,
            indices=self.indices,
        )
        if not getattr(kernels(), name)(ctypes.byref(task), ctypes.c_int(torch.get_num_threads())):
            raise MemoryError(f"no memory for the bit planes of {self.wordlines} wordlines")
        return len(codes) * height * width


def applies(codes: Tensor, adcs: tuple[Adc, ...]) -> bool:
    """Whether the kernel simulates a matrix of ``codes``: on a CPU, where ADC steps are whole planes."""
    return (
        codes.device.type == "cpu" and all(adc.step.bit_count() == 1 for adc in adcs) and native.library() is not None
    )


def counts(crossbar: Crossbar) -> bool:
    """Whether the kernel counts how often each sum occurs on such arrays."""
    return bool(crossbar.rows * (2**crossbar.cell_bits - 1) * crossbar.largest_digit <= LARGEST_COUNTED)


def kernels() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        BitsliceError: if they were not built, or are turned off.
    """
    found = native.library()
    if found is None:
        raise BitsliceError("the C kernels were not built: install bitslice with a C compiler at hand")
    found.crossbar_row_lists.restype = ctypes.c_int64
    return found


def counter_planes(largest: int, adc: Adc) -> tuple[int, int, int, int]:
    """How counters of sums up to ``largest`` give an ADC's code.

    Returns:
        Planes of a counter; how many of them lie below the code; what it starts at; the power of two that a code of 1
        is worth.

    >>> counter_planes(384, Adc(None)), counter_planes(384, Adc(3)), counter_planes(384, Adc(3, step=4))
    ((9, 0, 0, 0), (3, 0, 0, 0), (5, 2, 2, 2))
    >>> counter_planes(384, Adc(1, step=4, threshold=5))  # 5 and more reach 8, the fourth plane
    (4, 3, 3, 2)

    Raises:
        BitsliceError: if the step is no power of two.
    """
    if adc.step.bit_count() != 1:
        raise BitsliceError(f"counters take ADC steps that are powers of two, not {adc.step}")
    place = adc.step.bit_length() - 1
    below = (adc.first - 1).bit_length() if adc.bits == 1 else place
    start = 2**below - adc.first
    needed = max(below, (largest + start).bit_length())
    return (needed if adc.bits is None else min(needed, adc.bits + below)), below, start, place


def row_lists(
    columns: Tensor, simulated: Tensor, bits: int, cell_bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lists of the rows whose cell has a bit set, of every bitline that is simulated and holds such a cell.

    Args:
        columns: signed weight codes ``(outputs, tiles, rows)``.
        simulated: which bitlines, bool ``(outputs, tiles, 2 signs, slices)``.
        bits: magnitude bits of a weight.
        cell_bits: bits of a cell.

    Returns:
        Output, tile, sign and slice of each bitline, int32 ``(bitlines, 4)``; the sum of its cells, int64
        ``(bitlines,)``; start of each list, and end of the last, int64 ``(bitlines * cell_bits + 1,)``; and the lists
        one after the other, uint16. A list of odd length ends with the index of an empty row, ``rows``.

    >>> jobs, sums, starts, indices = row_lists(torch.tensor([[[1, 2, 1]]]), torch.ones(1, 1, 2, 1) > 0, 2, 2)
    >>> jobs.tolist(), sums.tolist(), starts.tolist(), indices.tolist()
    ([[0, 0, 0, 0]], [4], [0, 2, 4], [0, 2, 1, 3])

    Raises:
        BitsliceError: if a code does not fit ``bits`` bits, or the kernels were not built.
    """
    outputs, tiles, rows = columns.shape
    most = int(np.count_nonzero(simulated))
    jobs, sums = np.empty((most, 4), np.int32), np.empty(most, np.int64)
    starts = np.empty(most * cell_bits + 1, np.int64)
    set_bits = int(np.bitwise_count(magnitudes(columns, bits).numpy()).sum())
    indices = np.empty(set_bits + most * cell_bits + 1, np.uint16)
    codes, chosen = columns.int().contiguous().numpy(), simulated.contiguous().numpy()
    sizes = (ctypes.c_int64(size) for size in (outputs, tiles, rows, simulated.shape[3], cell_bits))
    given = (ctypes.c_void_p(array.ctypes.data) for array in (codes, chosen, jobs, sums, starts, indices))
    count = kernels().crossbar_row_lists(*given, *sizes)
    if count < 0:
        raise MemoryError(f"no memory for the cells of {rows} rows")
    starts = starts[: count * cell_bits + 1]
    return jobs[:count], sums[:count], starts, indices[: starts[-1]].copy()
