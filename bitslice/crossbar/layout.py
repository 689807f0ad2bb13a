"""How a layer's input becomes the images that its crossbars unfold, and their product the layer's output again.

Every layer becomes a convolution in two dimensions with zero padding: a linear layer one of single pixels, one
dimension a single row, three dimensions a batch of frames whose channels hold the kernel's depth, a transposed
convolution one of an image spread out by zeros. Other paddings are added before.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.unfold import Pair, Unfold


@dataclass(frozen=True)
class Layout:
    """Shape of a layer's work; codes of inputs are rearranged and repeated, never changed.

    Attributes:
        unfold: how images become input vectors; None: they are vectors already, of a linear layer.
        dimensions: of space: 0 (linear) to 3.
        pad: added before unfolding, last dimension first, as ``torch.nn.functional.pad`` takes it; may be negative.
        mode: of that padding.
        spread: of a transposed convolution: distance of its pixels, per dimension.
        depth: of three dimensions: the kernel's depth, stride and dilation.
    """

    unfold: Unfold | None = None
    dimensions: int = 0
    pad: tuple[int, ...] = ()
    mode: str = "constant"
    spread: tuple[int, ...] = ()
    depth: tuple[int, int, int] | None = None

    def images(self, x: Tensor) -> Tensor:
        """A layer's input as images ``(images, channels, height, width)``; of a linear layer one, a pixel a vector."""
        if self.unfold is None:
            return x.reshape(-1, x.shape[-1]).T[None, :, None]
        x = x if x.dim() == self.dimensions + 2 else x[None]
        if self.spread:
            size = [(n - 1) * step + 1 for n, step in zip(x.shape[2:], self.spread, strict=True)]
            whole = x.new_zeros(*x.shape[:2], *size)
            places: Any = (..., *(slice(None, None, step) for step in self.spread))
            whole[places] = x
            x = whole
        if self.pad:
            x = nn.functional.pad(x, self.pad, self.mode)
        if self.depth is not None:
            kernel, stride, dilation = self.depth
            first = torch.arange(0, x.shape[2] - dilation * (kernel - 1), stride, device=x.device)
            frames = first[:, None] + dilation * torch.arange(kernel, device=x.device)
            x = x[:, :, frames].transpose(1, 2).flatten(2, 3).flatten(0, 1)
        return x[:, :, None] if self.dimensions == 1 else x

    def vectors(self, x: Tensor) -> int:
        """Input vectors of one call of the layer with ``x``."""
        if self.unfold is None:
            return x.numel() // x.shape[-1]
        images = self.images(x)
        height, width = self.unfold.output_size(*images.shape[2:])
        return len(images) * height * width

    def output(self, product: Tensor, x: Tensor) -> Tensor:
        """The layer's output from what its images gave, ``(images, outputs, height, width)``, for the input ``x``."""
        if self.unfold is None:
            return product[0, :, 0].T.reshape(*x.shape[:-1], -1)
        batched = x.dim() == self.dimensions + 2
        if self.depth is not None:
            product = product.unflatten(0, (len(x) if batched else 1, -1)).transpose(1, 2)
        product = product[:, :, 0] if self.dimensions == 1 else product
        return product if batched else product[0]


def _as_tuple(value: int | tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    return (value,) * dimensions if isinstance(value, int) else tuple(value)


def _pair(values: tuple[int, ...], fill: int = 1) -> Pair:
    """The last two of them; of one dimension, beside ``fill`` for a single row."""
    return (fill, values[0]) if len(values) == 1 else (values[-2], values[-1])


def layout_of(layer: nn.Module) -> Layout:
    """The layout of a linear layer or a convolution."""
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return Layout()
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    count = len(kernel)
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        given, extra = _as_tuple(cast(Any, layer.padding), count), _as_tuple(layer.output_padding, count)
        reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, given, strict=True)]
        sides = [(r, r + e) for r, e in zip(reach, extra, strict=True)]
        spread, stride = stride, (1,) * count
    else:
        spread = ()
        if layer.padding == "same":
            total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            sides = [(t // 2, t - t // 2) for t in total]
        else:
            given = (0,) * count if layer.padding == "valid" else _as_tuple(cast(Any, layer.padding), count)
            sides = [(p, p) for p in given]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    depth, padding = None, (0,) * count
    if count < 3 and mode == "constant" and all(a == b >= 0 for a, b in sides):
        padding, sides = tuple(a for a, _ in sides), []
    if count == 3:
        depth = kernel[0], stride[0], dilation[0]
    return Layout(
        unfold=Unfold(_pair(kernel), _pair(stride), _pair(padding, 0), _pair(dilation)),
        dimensions=count,
        pad=tuple(side for pair in reversed(sides) for side in pair),
        mode=mode,
        spread=spread,
        depth=depth,
    )


def as_convolution(codes: Tensor, layer: nn.Module) -> Tensor:
    """Weight codes of ``layer`` as those of a convolution: ``(outputs of all groups, wordlines)``."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        spatial = tuple(range(2, codes.dim()))
        codes = codes.flip(spatial).unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return codes.flatten(1)
