"""From a quantized network to crossbar matrices: what each layer stores, drives and converts.

A ``Linear`` or ``Conv2d`` layer becomes one matrix of weight codes a group: wordlines (inputs of the unfolded
convolution) x bitlines (outputs). Per slice and sign the matrix is cut into arrays of R x C cells. No array is shared
between matrices, and biases are added in the digital domain.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.adc import Adc
from bitslice.crossbar.geometry import Crossbar, SignedInputs
from bitslice.crossbar.reference import phases
from bitslice.errors import BitsliceError
from bitslice.native import elementwise
from bitslice.quantizer import FixedPoint, QuantizedTensor, quantized_tensors
from bitslice.slices import cell_levels, slice_count

Pair = tuple[int, int]


@dataclass(frozen=True)
class Unfold:
    """How images become a crossbar's input vectors, as in ``torch.nn.functional.unfold``; pairs are (height, width)."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def output_size(self, height: int, width: int) -> Pair:
        """Height and width of the output image.

        >>> Unfold(kernel=(3, 3), stride=(2, 2), padding=(1, 1)).output_size(32, 32)
        (16, 16)
        """
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                (height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return size[0], size[1]


@dataclass(frozen=True)
class Phase:
    """One pass of a layer's input over its wordlines.

    Attributes:
        sign: what the phase's result is multiplied by, +1 or -1.
        codes: what enters, uint8 or uint16 ``(images, channels, height, width)``; of a linear layer, whose vectors are
            the pixels of one image, ``(1, inputs, 1, vectors)``.
        bits: of a word.
        padding: code of a padding pixel.
    """

    sign: int
    codes: Tensor
    bits: int
    padding: int


@dataclass(frozen=True)
class MappedLayer:
    """One layer on crossbars.

    Attributes:
        name: of the layer in its model.
        crossbar: geometry of its arrays.
        codes: signed weight codes, int32 ``(groups, wordlines, outputs)``; outputs of one group.
        bits: magnitude bits of a weight.
        input_bits: magnitude bits of an input.
        signed: whether inputs can be negative, as observed on the images it was mapped with.
        step: value of a weight code of 1.
        input_step: value of an input code of 1.
        inputs: input elements per image, over all calls of the layer.
        vectors: input vectors per image: output positions of a convolution, over all calls of the layer.
        unfold: of a convolution; None for a linear layer.
    """

    name: str
    crossbar: Crossbar
    codes: Tensor
    bits: int
    input_bits: int
    signed: bool
    step: Tensor
    input_step: Tensor
    inputs: int
    vectors: int
    unfold: Unfold | None

    @property
    def groups(self) -> int:
        """Matrices of the layer: groups of a convolution, else 1."""
        return self.codes.shape[0]

    @property
    def wordlines(self) -> int:
        """Inputs of one matrix."""
        return self.codes.shape[1]

    @property
    def outputs(self) -> int:
        """Bitlines of one matrix, per slice and sign."""
        return self.codes.shape[2]

    @property
    def slices(self) -> int:
        """Slices of a weight."""
        return slice_count(self.bits, self.crossbar.cell_bits)

    @property
    def row_tiles(self) -> int:
        """Arrays that a column stretches over."""
        return -(-self.wordlines // self.crossbar.rows)

    @property
    def column_tiles(self) -> int:
        """Arrays that a row stretches over."""
        return -(-self.outputs // self.crossbar.columns)

    @property
    def arrays(self) -> int:
        """Crossbar arrays of the layer, over groups, slices, both signs and tiles."""
        return self.groups * self.slices * 2 * self.row_tiles * self.column_tiles

    @property
    def unused(self) -> Pair:
        """Rows of the row tiles and columns of the column tiles that hold nothing."""
        rows = self.row_tiles * self.crossbar.rows - self.wordlines
        return rows, self.column_tiles * self.crossbar.columns - self.outputs

    @property
    def utilization(self) -> float:
        """Share (0 to 1) of the arrays' cells that lie on a used row and a used column; zero weights count as used."""
        held = self.row_tiles * self.crossbar.rows * self.column_tiles * self.crossbar.columns
        return self.wordlines * self.outputs / held

    @property
    def phases(self) -> int:
        """Passes of the input per vector."""
        return 2 if self.signed and self.crossbar.signed_inputs is SignedInputs.TWO_PHASE else 1

    @property
    def word_bits(self) -> int:
        """Bits of the word that enters a wordline in one phase."""
        offset = self.signed and self.crossbar.signed_inputs is SignedInputs.OFFSET
        return self.input_bits + 1 if offset else self.input_bits

    @property
    def cycles(self) -> int:
        """Cycles per vector, over all phases."""
        return self.phases * self.crossbar.cycles(self.word_bits)

    def drive(self, x: Tensor) -> list[Phase]:
        """The layer's quantized input ``x`` (float, as the layer takes it) as what its wordlines carry.

        Raises:
            BitsliceError: if an input is negative though none was when the layer was mapped.
        """
        image = x.flatten(0, -2).T[None, :, None] if self.unfold is None else x
        # What is never negative goes straight to the type in which it enters.
        kind = torch.int32 if self.signed else word_type(self.input_bits)
        codes, negative = whole_numbers(image.contiguous(), self.input_step, kind)
        if negative and not self.signed:
            raise BitsliceError(
                f"layer {self.name!r} has a negative input, but had none when it was mapped: map it with more images"
            )
        return [
            Phase(
                sign,
                words.to(word_type(bits)),
                bits,
                2**self.input_bits if bits > self.input_bits else 0,
            )
            for sign, words, bits in phases(codes, self.crossbar, self.input_bits, self.signed)
        ]

    def levels(self) -> Tensor:
        """Cell levels, uint8 ``(groups, 2 signs, slices, wordlines, outputs)``; the positive array first, B0 first."""
        return cell_levels(self.codes, self.bits, self.crossbar.cell_bits).movedim(2, 0)

    @cached_property
    def bounds(self) -> Tensor:
        """Largest sum that any input could put on each bitline, int64 ``(groups, tiles, 2 signs, slices, outputs)``."""
        cells = self.levels()
        sums = [cells[:, :, :, tile].sum(dim=3, dtype=torch.int32) for tile in self.crossbar.tiles(self.wordlines)]
        return torch.stack(sums, dim=1).long() * self.crossbar.largest_digit

    def largest_sum(self, codes: Tensor | None = None) -> int:
        """Largest magnitude that a product's sum can reach for any input, in whatever order it is added.

        Args:
            codes: signed weight codes ``(groups, wordlines, outputs)``; None: those of the layer.
        """
        codes = self.codes if codes is None else codes
        positive, negative = (side.sum(dim=1) for side in (codes.clamp_min(0), codes.clamp_max(0).neg()))
        # Inputs that are never negative leave the signs of all terms to the weights.
        reached = positive + negative if self.signed else torch.maximum(positive, negative)
        return int(reached.max()) * int(2**self.input_bits - 1)

    def part(self, chosen: Tensor) -> Tensor:
        """Signed codes of the cells on ``chosen`` bitlines alone: int32, in the shape of ``codes``.

        Args:
            chosen: bool, in the shape of :attr:`bounds`.
        """
        place = (2**self.crossbar.cell_bits - 1) << self.crossbar.cell_bits * torch.arange(self.slices)
        held = (chosen * place.to(chosen.device)[:, None]).sum(dim=3).int()  # which bits of a code, per tile and sign
        part = torch.empty_like(self.codes)
        for tile, bits in zip(self.crossbar.tiles(self.wordlines), held.unbind(1), strict=True):
            codes = self.codes[:, tile]
            part[:, tile] = (codes.clamp_min(0) & bits[:, :1]) - (codes.clamp_max(0).neg() & bits[:, 1:])
        return part

    def conversions(self) -> Tensor:
        """Conversions per image and slice, int64 ``(slices,)``: every cycle converts every bitline of every tile."""
        each = self.vectors * self.cycles * self.groups * self.row_tiles * 2 * self.outputs
        return torch.full((self.slices,), each)

    def conversions_of_used(self) -> Tensor:
        """As :meth:`conversions`, without bitlines whose cells are all zero: they need no ADC."""
        return self.bounds.gt(0).sum(dim=(0, 1, 2, 4)) * self.vectors * self.cycles

    def simulated(self, adcs: tuple[Adc, ...]) -> Tensor:
        """Which bitlines an ADC can change, bool in the shape of :attr:`bounds`; an exact product covers the rest."""
        bounds = self.bounds
        return torch.stack([adc.changes(bounds[:, :, :, k]) for k, adc in enumerate(adcs)], dim=3)


def whole_numbers(x: Tensor, step: Tensor, kind: torch.dtype) -> tuple[Tensor, bool]:
    """What multiples of ``step`` the elements of contiguous float ``x`` are, as ``kind``; whether one is negative."""
    if elementwise.takes_bytes(x, kind):
        return elementwise.bytes_of(x, step)
    return (x * step.reciprocal()).to(kind), bool(x.numel() and x.amin() < 0)


def word_type(bits: int) -> torch.dtype:
    """Smallest unsigned type for words of ``bits``."""
    return torch.uint8 if bits <= 8 else torch.uint16


def layer_name(tensor: QuantizedTensor) -> str:
    """Name of the layer that a quantized parameter belongs to."""
    return tensor.name.rpartition(".")[0]


def unfold_of(layer: nn.Module, name: str) -> Unfold | None:
    """How a convolution's input unfolds; None for a linear layer.

    Raises:
        BitsliceError: for padding that is not a number of zeros.
    """
    if not isinstance(layer, nn.Conv2d):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise BitsliceError(
            f"layer {name!r} pads with {layer.padding!r} ({layer.padding_mode}); give the number of zero pixels"
        )
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return Unfold(*(cast(Pair, tuple(pair)) for pair in shape))


@contextmanager
def observed_inputs(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collects the quantized inputs (float) of every quantized layer, call by call, while ``model`` runs."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(getattr(module, "input_quantizer", None), FixedPoint):

            def keep(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                seen.setdefault(name, []).append(inputs[0])

            handles.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def map_network(model: nn.Module, images: Tensor, crossbar: Crossbar | None = None) -> list[MappedLayer]:
    """Map every quantized layer of ``model`` to crossbars, in the order of its modules.

    Args:
        model: a quantized network in evaluation mode.
        images: some of its inputs, float ``(images, ...)``: they show how often a layer is used and whether its inputs
            can be negative.
        crossbar: geometry; None: the defaults.

    Raises:
        BitsliceError: naming the layer and the value, if the model is not quantized, a weight is not finite, cells do
            not divide a weight, an input is wider than the schedule, or a layer pads with anything but zeros.
    """
    crossbar = crossbar or Crossbar()
    weights = stored_weights(model, crossbar)
    with observed_inputs(model) as inputs:
        model(images)
    return [map_layer(tensor, inputs.get(layer_name(tensor), []), len(images), crossbar) for tensor in weights]


def map_layer(tensor: QuantizedTensor, inputs: Sequence[Tensor], images: int, crossbar: Crossbar) -> MappedLayer:
    """Map the layer that holds one quantized weight.

    Args:
        tensor: the weight.
        inputs: what the layer was seen to take, quantized, call by call.
        images: of how many images.
        crossbar: geometry.

    Raises:
        BitsliceError: for padding that is not a number of zeros.
    """
    name = layer_name(tensor)
    layer, unfold = tensor.layer, unfold_of(tensor.layer, name)
    input_quantizer = cast(FixedPoint, layer.input_quantizer)
    groups = cast(int, getattr(layer, "groups", 1))
    codes = tensor.codes().flatten(1)  # (outputs of all groups, wordlines)
    return MappedLayer(
        name=name,
        crossbar=crossbar,
        codes=codes.unflatten(0, (groups, -1)).transpose(1, 2).contiguous(),
        bits=tensor.quantizer.bits,
        input_bits=input_quantizer.bits,
        signed=any(bool((x < 0).any()) for x in inputs),
        step=tensor.quantizer.step,
        input_step=input_quantizer.step,
        inputs=sum(x.numel() for x in inputs) // images,
        vectors=sum(vectors_of(unfold, x) for x in inputs) // images,
        unfold=unfold,
    )


def stored_weights(model: nn.Module, crossbar: Crossbar) -> list[QuantizedTensor]:
    """The weight of every quantized layer, in the order of the modules; raises as :func:`map_network`."""
    weights = [t for t in quantized_tensors(model) if t.name.rpartition(".")[2] == "weight"]
    if not weights:
        raise BitsliceError("a crossbar needs a quantized network: call bitslice.quantize(model) first")
    for tensor in weights:
        check_fits(tensor, crossbar)
    return weights


def check_fits(tensor: QuantizedTensor, crossbar: Crossbar) -> None:
    """Raise :class:`BitsliceError`, naming layer and value, unless ``crossbar`` can hold and drive a layer's weight."""
    name, bits = layer_name(tensor), tensor.quantizer.bits
    input_bits = cast(FixedPoint, tensor.layer.input_quantizer).bits
    if not tensor.original.isfinite().all():
        value = tensor.original[~tensor.original.isfinite()][0].item()
        raise BitsliceError(f"layer {name!r} has a weight that is not finite: {value}")
    if bits % crossbar.cell_bits:
        raise BitsliceError(f"layer {name!r}: cells of {crossbar.cell_bits} bits do not divide weights of {bits} bits")
    if input_bits > crossbar.input_bits:
        raise BitsliceError(
            f"layer {name!r}: inputs of {input_bits} bits are wider than the schedule of {crossbar.input_bits} bits"
        )


def vectors_of(unfold: Unfold | None, x: Tensor) -> int:
    """Input vectors of one call of a layer with ``x``."""
    if unfold is None:
        return x[..., 0].numel()
    height, width = unfold.output_size(x.shape[-2], x.shape[-1])
    return x.shape[0] * height * width
