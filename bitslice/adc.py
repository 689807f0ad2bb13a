"""Bitline sums of mapped layers, and what they ask of the ADC.

A layer of I inputs and O outputs becomes, per slice, two arrays of I wordlines x O bitlines: one holds the slices of
its positive weights, one those of the negative ones. Wordlines are cut into tiles of ``rows``; inputs arrive bit by
bit, so a bitline's sum adds the cells whose input bit is 1. An ADC of N bits with step 1 converts sums
up to 2^N - 1 without loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.quantizer import FixedPoint, quantized_tensors
from bitslice.slices import to_slices


def resolution(bitline_sum: int) -> int:
    """Bits an ADC with step 1 needs to convert sums up to ``bitline_sum`` without loss; 0 if every sum is 0.

    >>> resolution(3), resolution(4), resolution(384)
    (2, 3, 9)
    """
    return bitline_sum.bit_length()


@dataclass(frozen=True)
class BitlineSums:
    """Bitline sums of one slice over all layers, signs, tiles and (where observed) images.

    Attributes:
        bound: largest sum that any input could cause, in cell levels.
        observed: largest sum on the images seen.
        counts: how many conversions gave each sum, index = sum; int64.
    """

    bound: int
    observed: int
    counts: Tensor

    @property
    def bound_bits(self) -> int:
        """ADC resolution that is lossless for any input."""
        return resolution(self.bound)

    @property
    def observed_bits(self) -> int:
        """ADC resolution that was lossless on the images seen."""
        return resolution(self.observed)

    def clipped(self, bits: int) -> float:
        """Share of conversions (0 to 1) whose sum lies beyond ``2^bits - 1``."""
        return int(self.counts[2**bits :].sum()) / int(self.counts.sum())


def layer_inputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Signed integer input codes of every quantized layer for a batch of network inputs, by layer name, int32."""
    captured: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, FixedPoint) and name.rpartition(".")[2] == "input_quantizer":
            layer = name.rpartition(".")[0]

            def keep(quantizer: nn.Module, _: tuple[Tensor], output: Tensor, layer: str = layer) -> None:
                captured[layer] = (output / cast(FixedPoint, quantizer).step).to(torch.int32)

            handles.append(module.register_forward_hook(keep))
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return captured


def as_matrix(layer: nn.Module, weights: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as (wordlines, bitlines) and inputs as (vectors, wordlines) of one crossbar matrix.

    A convolution is unfolded: every output position is one input vector.

    Raises:
        BitsliceError: for a grouped convolution, which this first version does not map.
    """
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise BitsliceError("only ungrouped convolutions with numeric zero padding are mapped")
        columns = nn.functional.unfold(
            inputs.float(), layer.kernel_size, layer.dilation, layer.padding, layer.stride
        )  # (images, wordlines, positions)
        return weights.flatten(1).T, columns.transpose(1, 2).flatten(0, 1).to(inputs.dtype)
    return weights.T, inputs.flatten(0, -2)


def bit_planes(codes: Tensor, bits: int) -> Iterator[Tensor]:
    """One-bit planes of the magnitudes of ``codes``, float 0/1; signed inputs take two phases, positive first."""
    phases = [codes.clamp_min(0)]
    if bool((codes < 0).any()):
        phases.append((-codes).clamp_min(0))
    for phase in phases:
        for bit in range(bits):
            yield ((phase >> bit) & 1).float()


def bitline_sums(
    model: nn.Module, images: Tensor, rows: int = 128, cell_bits: int = 2, batch: int = 100
) -> list[BitlineSums]:
    """Bitline sums of a quantized network on real inputs, per slice, B0 first.

    Args:
        model: a quantized network in evaluation mode.
        images: network inputs, float ``(images, ...)``.
        rows: wordlines per tile.
        cell_bits: bits per cell.
        batch: images at a time, which bounds memory.

    Raises:
        BitsliceError: if ``rows`` is not positive, the cells do not divide the word, or the model is not quantized.
    """
    if rows < 1:
        raise BitsliceError(f"a crossbar has at least 1 row, not {rows}")
    weights = {t.name.rpartition(".")[0]: t for t in quantized_tensors(model) if t.name.endswith("weight")}
    if not weights:
        raise BitsliceError("bitline sums need a quantized model: call bitslice.quantize(model) first")
    slices = {
        name: torch.stack(
            [
                to_slices(t.codes().clamp_min(0), t.quantizer.bits, cell_bits),
                to_slices((-t.codes()).clamp_min(0), t.quantizer.bits, cell_bits),
            ],
            dim=1,
        ).float()
        for name, t in weights.items()
    }  # (slices, signs, *weight shape)
    count = len(next(iter(slices.values())))
    bounds = [0] * count
    histograms = [torch.zeros(rows * (2**cell_bits - 1) + 1, dtype=torch.int64) for _ in range(count)]
    for batch_images in images.split(batch):
        for name, inputs in layer_inputs(model, batch_images).items():
            layer = weights[name].layer
            bits = cast(FixedPoint, layer.input_quantizer).bits
            planes = list(bit_planes(as_matrix(layer, weights[name].original, inputs)[1], bits))
            for k in range(count):
                cells = torch.cat([as_matrix(layer, sign, inputs[:1])[0] for sign in slices[name][k]], dim=1)
                for first in range(0, len(cells), rows):
                    tile = cells[first : first + rows]  # (rows, 2 bitlines)
                    bounds[k] = max(bounds[k], int(tile.sum(dim=0).max()))
                    for plane in planes:
                        sums = plane[:, first : first + rows] @ tile
                        histograms[k] += torch.bincount(sums.flatten().int(), minlength=len(histograms[k])).cpu()
    return [
        BitlineSums(bound, int(counts.nonzero().max()) if counts.any() else 0, counts)
        for bound, counts in zip(bounds, histograms, strict=True)
    ]
