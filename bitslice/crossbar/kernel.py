"""Python side of ``crossbar.c``: the exact simulation of clipping ADCs by vertical counters, on a CPU."""

import ctypes
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from bitslice.crossbar.geometry import Adc, Crossbar
from bitslice.crossbar.mapping import Unfold
from bitslice.errors import BitsliceError
from bitslice.native import library, parallel
from bitslice.slices import to_slices

CHUNK = 16
"""Bytes that the kernel copies at a time, and so may read beyond the last code."""


class Task(ctypes.Structure):
    """What one call of the kernel needs; mirrors ``Task`` of ``crossbar.c``, where the fields are explained."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("codes", "wordline")),
        *((name, ctypes.c_int64) for name in ("wordlines", "rows", "input_bits", "byte_stride")),
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "image_stride", "row_stride")),
        *((name, ctypes.c_int64) for name in ("jobs", "cell_bits", "dac_bits", "slices")),
        *((name, ctypes.c_void_p) for name in ("job", "lists", "indices", "kept", "dropped")),
        *((name, ctypes.c_int64) for name in ("result_bits",)),
        *((name, ctypes.c_void_p) for name in ("result",)),
        *((name, ctypes.c_int64) for name in ("result_stride", "negative")),
        *((name, ctypes.c_void_p) for name in ("order", "histogram")),
        *((name, ctypes.c_int64) for name in ("bins",)),
    ]


class Driven(NamedTuple):
    """Padded input codes as the kernel reads them: bytes ``(bytes, images, channels, height, stride, width)``.

    Columns of one remainder modulo the stride lie side by side, so that the codes which a wordline gets for adjacent
    outputs are adjacent.
    """

    codes: np.ndarray
    wordline: np.ndarray
    byte_stride: int
    image_stride: int
    row_stride: int

    @classmethod
    def of(cls, codes: Tensor, unfold: Unfold, bits: int, padding: int) -> "Driven":
        images, channels, height, width = codes.shape
        (top, left), (down, stride) = unfold.padding, unfold.stride
        size = (-(-bits // 8), images, channels, height + 2 * top, stride, -(-(width + 2 * left) // stride))
        buffer = np.empty(int(np.prod(size)) + CHUNK, np.uint8)
        space = buffer[:-CHUNK].reshape(size)
        words = codes.numpy()
        for low, plane in enumerate(space):
            plane[:] = padding >> 8 * low & 255
            for remainder in range(stride):
                first = (remainder - left) % stride
                part = (words[..., first::stride] >> 8 * low).astype(np.uint8)
                at = (first + left) // stride
                plane[:, :, top : top + height, remainder, at : at + part.shape[3]] = part
        byte, image, channel, row, phase, _ = space.strides
        y, x = (np.arange(n) * d for n, d in zip(unfold.kernel, unfold.dilation, strict=True))
        starts = channel * np.arange(channels)[:, None, None] + row * y[:, None] + phase * (x % stride) + x // stride
        return cls(buffer, starts.astype(np.int64).ravel(), byte, image, down * row)


class Counters:
    """Adds what the simulated bitlines of one matrix give, with vertical counters.

    Args:
        codes: signed weight codes, int32 ``(wordlines, outputs)``.
        simulated: which bitlines to simulate, bool ``(tiles, 2 signs, slices, outputs)``.
        adcs: of every slice, B0 first.
        crossbar: geometry.
        bits: magnitude bits of a weight.

    Raises:
        BitsliceError: if shapes do not fit each other, or a tile has more than 65535 rows.
    """

    def __init__(self, codes: Tensor, simulated: Tensor, adcs: tuple[Adc, ...], crossbar: Crossbar, bits: int) -> None:
        wordlines, outputs = codes.shape
        self.crossbar, self.wordlines, self.outputs = crossbar, wordlines, outputs
        self.rows = min(crossbar.rows, wordlines)
        if self.rows > np.iinfo(np.uint16).max:
            raise BitsliceError(f"a simulated tile has at most 65535 rows, not {self.rows}")
        tiles = -(-wordlines // self.rows)
        signs = [codes.clamp_min(0), (-codes).clamp_min(0)]
        cells = torch.stack([to_slices(side, bits, crossbar.cell_bits) for side in signs])
        self.shape = (tiles, 2, cells.shape[1])
        if simulated.shape != (*self.shape, outputs) or len(adcs) != cells.shape[1]:
            raise BitsliceError(
                f"{tuple(simulated.shape)} bitlines and {len(adcs)} ADCs do not fit {(*self.shape, outputs)}"
            )
        cells = torch.nn.functional.pad(cells, (0, 0, 0, tiles * self.rows - wordlines))
        columns = cells.unflatten(2, (tiles, self.rows)).permute(4, 2, 0, 1, 3)  # output, tile, sign, slice, row
        bounds = columns.sum(dim=4) * crossbar.largest_digit
        jobs = (bounds.gt(0) & simulated.permute(3, 0, 1, 2)).nonzero(as_tuple=True)
        self.jobs = torch.stack(jobs, dim=1).int().numpy()
        self.lists, self.indices = row_lists(columns[jobs], crossbar.cell_bits)
        self.order = np.lexsort(self.jobs.T[[3, 2, 1]]).astype(np.int32)
        # Planes to count: those of the largest sum or, if it is less, of the ADC's full scale.
        slices = range(len(adcs))
        largest = [int(bounds[..., k].max()) + adc.step // 2 for k, adc in zip(slices, adcs, strict=True)]
        dropped = [adc.step.bit_length() - 1 for adc in adcs]
        planes = [
            n.bit_length() if adc.bits is None else adc.bits + s
            for n, s, adc in zip(largest, dropped, adcs, strict=True)
        ]
        kept = [min(n.bit_length(), p) for n, p in zip(largest, planes, strict=True)]
        self.kept, self.dropped = (np.array(n, np.int64) for n in (kept, dropped))
        converted = torch.stack([adc.convert(bounds[..., k]) for k, adc in enumerate(adcs)], dim=3)
        weighted = converted.mul(simulated.permute(3, 0, 1, 2)) << torch.arange(len(adcs)) * crossbar.cell_bits
        self.largest = int(weighted.sum(dim=(1, 3)).max())

    def add(self, result: Tensor, codes: Tensor, unfold: Unfold, bits: int, sign: int = 1, padding: int = 0) -> None:
        """Add one phase's converted product, times ``sign``, to ``result`` in place.

        Args:
            result: int32 ``(images, outputs, out_height, out_width)``; images may lie apart, the rest is contiguous.
            codes: non-negative input codes, uint8 or uint16 ``(images, channels, height, width)``, below ``2**bits``.
            unfold: how they become input vectors.
            bits: of an input word.
            sign: +1 or -1.
            padding: code of a padding pixel.

        Raises:
            BitsliceError: if a tensor has another shape or kind, or a result might not fit 32 bits.
        """
        cycles = self.crossbar.cycles(bits)
        largest = self.largest * sum(2 ** (self.crossbar.dac_bits * cycle) for cycle in range(cycles))
        if largest >= 2**31:
            raise BitsliceError(f"an output may sum to {largest} on the crossbar, beyond the largest int32, 2^31 - 1")
        size = unfold.output_size(codes.shape[2], codes.shape[3])
        if (
            result.dtype != torch.int32
            or result.shape != (len(codes), self.outputs, *size)
            or not result[0].is_contiguous()
        ):
            raise BitsliceError(
                f"the result must be contiguous int32 {(len(codes), self.outputs, *size)}, not {result.dtype} "
                f"{tuple(result.shape)}"
            )
        task, _keep = self._task(codes, unfold, bits, padding, size)
        task.kept, task.dropped = self.kept.ctypes.data, self.dropped.ctypes.data
        task.result_bits = largest.bit_length()
        task.result, task.result_stride, task.negative = result.data_ptr(), result.stride(0), sign < 0
        self._run("crossbar_add", task)

    def statistics(self, codes: Tensor, unfold: Unfold, bits: int, padding: int = 0) -> Tensor:
        """Histograms of the raw sums, before any ADC, of the simulated bitlines.

        Args:
            codes: as for :meth:`add`, and so are the others.
            unfold: how they become input vectors.
            bits: of an input word.
            padding: code of a padding pixel.

        Returns:
            int64 ``(tiles, 2 signs, slices, largest sum + 1)``: how many conversions gave each sum. Every conversion of
            an array counts, also those of bitlines that are not simulated, as 0.

        Raises:
            BitsliceError: as :meth:`add`.
        """
        largest = self.rows * (2**self.crossbar.cell_bits - 1) * self.crossbar.largest_digit
        if largest > np.iinfo(np.uint16).max:
            raise BitsliceError(f"statistics count sums up to 65535, not {largest}")
        size = unfold.output_size(codes.shape[2], codes.shape[3])
        task, _keep = self._task(codes, unfold, bits, padding, size)
        histogram = torch.zeros(*self.shape, largest + 1, dtype=torch.int64)
        kept = np.full(self.shape[2], largest.bit_length(), np.int64)
        task.kept, task.order = kept.ctypes.data, self.order.ctypes.data
        task.histogram, task.bins = histogram.data_ptr(), largest + 1
        self._run("crossbar_statistics", task)
        conversions = self.outputs * self.crossbar.cycles(bits) * len(codes) * size[0] * size[1]
        histogram[..., 0] = conversions - histogram[..., 1:].sum(dim=3)
        return histogram

    def _task(
        self, codes: Tensor, unfold: Unfold, bits: int, padding: int, size: tuple[int, int]
    ) -> tuple[Task, Driven]:
        kind = torch.uint8 if bits <= 8 else torch.uint16
        area = unfold.kernel[0] * unfold.kernel[1]
        if codes.dtype != kind or not 1 <= bits <= 16:
            raise BitsliceError(
                f"input words of 8 bits come as uint8, of 16 as uint16; {bits} bits came as {codes.dtype}"
            )
        if codes.shape[1] * area != self.wordlines:
            raise BitsliceError(f"{codes.shape[1]} channels of {area} pixels do not fit {self.wordlines} wordlines")
        driven = Driven.of(codes, unfold, bits, padding)
        task = Task(
            codes=driven.codes.ctypes.data,
            wordline=driven.wordline.ctypes.data,
            wordlines=self.wordlines,
            rows=self.rows,
            input_bits=bits,
            byte_stride=driven.byte_stride,
            images=len(codes),
            height=size[0],
            width=size[1],
            image_stride=driven.image_stride,
            row_stride=driven.row_stride,
            jobs=len(self.jobs),
            cell_bits=self.crossbar.cell_bits,
            dac_bits=self.crossbar.dac_bits,
            slices=self.shape[2],
            job=self.jobs.ctypes.data,
            lists=self.lists.ctypes.data,
            indices=self.indices.ctypes.data,
        )
        return task, driven

    def _run(self, name: str, task: Task) -> None:
        """Call a kernel on all blocks of positions."""
        kernels = library()
        if kernels is None:
            raise BitsliceError("the C kernels were not built: install bitslice with a C compiler at hand")
        kernel = getattr(kernels, name)
        positions = task.images * task.height * task.width
        blocks = -(-positions // cast(int, kernels.crossbar_lanes()))

        def piece(first: int, last: int) -> int:
            return cast(int, kernel(ctypes.byref(task), ctypes.c_int64(first), ctypes.c_int64(last)))

        if not all(parallel(blocks, piece)):
            raise MemoryError(f"no memory for the bit planes of {self.wordlines} wordlines")


def row_lists(columns: Tensor, cell_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of the rows whose cell has a bit set, for every column and cell bit.

    Args:
        columns: cell levels, uint8 ``(columns, rows)``.
        cell_bits: bits of a cell.

    Returns:
        Start of each list, int64 ``(columns * cell_bits + 1,)``, and the lists one after the other, uint16. A list of
        odd length ends with the index of an empty row, ``rows``.

    >>> starts, indices = row_lists(torch.tensor([[1, 2, 3]], dtype=torch.uint8), 2)
    >>> starts.tolist(), indices.tolist()
    ([0, 2, 4], [0, 2, 1, 2])
    """
    rows = columns.shape[1]
    bits = columns.numpy()[:, None] >> np.arange(cell_bits, dtype=np.uint8)[:, None] & 1
    owner, row = np.divmod(np.flatnonzero(bits), rows)
    lengths = np.bincount(owner, minlength=len(columns) * cell_bits)
    starts = np.concatenate([[0], np.cumsum(lengths + lengths % 2)])
    unpadded = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.full(starts[-1], rows, np.uint16)
    indices[np.arange(len(row)) + (starts - unpadded)[owner]] = row
    return starts, indices
