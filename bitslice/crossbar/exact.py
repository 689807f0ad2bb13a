"""The bitlines of a layer that no ADC can change, as one product in floating point that is exact."""

from typing import cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.mapped_layer import MappedLayer

#: Sums of products below this are exact in float32, in whatever order they are added.
EXACT_IN_FLOAT32 = 2**24


class Exact:
    """Product of a layer's input with chosen parts of its weights, exact whatever the input.

    Sums that could outgrow float32 are cut by input channels into pieces that cannot; the pieces are added in float64.
    That costs little more than one float32 product, where a float64 product costs twice as much.

    Args:
        mapped: the layer.
        codes: signed weight codes to multiply with, int32 ``(groups, wordlines, outputs)``.
    """

    def __init__(self, mapped: MappedLayer, codes: Tensor) -> None:
        self.layout, self.unfold, self.groups = mapped.layout, mapped.unfold, mapped.groups
        kernel = (1, 1) if mapped.unfold is None else mapped.unfold.kernel
        channels = codes.unflatten(1, (-1, kernel[0] * kernel[1]))

        def fits(pieces: int) -> bool:
            cut = (piece.flatten(1, 2) for piece in channels.tensor_split(pieces, dim=1))
            return all(mapped.largest_sum(piece) < EXACT_IN_FLOAT32 for piece in cut)

        needed = next((pieces for pieces in range(1, channels.shape[1] + 1) if fits(pieces)), None)
        kind = torch.float64 if needed is None else torch.float32
        weight = codes.transpose(1, 2).flatten(0, 1).to(kind) * mapped.step
        if mapped.unfold is not None:
            weight = weight.unflatten(1, (-1, *kernel))
        self.weights = [piece.contiguous() for piece in weight.tensor_split(needed or 1, dim=1)]

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's product for its quantized input ``x``: float32 if one piece of it is all, else float64."""
        given = x
        pieces = len(self.weights)
        if self.unfold is None:
            inputs = x.tensor_split(pieces, dim=-1)
        else:
            x = self.layout.images(x)
            split = x.unflatten(1, (self.groups, -1)).tensor_split(pieces, dim=2)
            inputs = tuple(piece.flatten(1, 2) for piece in split)
        result = None
        for piece, weight in zip(inputs, self.weights, strict=True):
            piece = piece.to(weight.dtype)
            if self.unfold is None:
                product = nn.functional.linear(piece, weight)
            else:
                geometry = self.unfold.stride, self.unfold.padding, self.unfold.dilation, self.groups
                product = nn.functional.conv2d(piece, weight, None, *geometry)
            result = product if result is None else result.double().add_(product)
        product = cast(Tensor, result)
        return product if self.unfold is None else self.layout.output(product, given)
