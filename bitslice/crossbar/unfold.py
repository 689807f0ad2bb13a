"""How images become a crossbar's input vectors: a convolution unfolded."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


def unfolded(codes: Tensor, unfold: Unfold, padding: int) -> Tensor:
    """Input vectors ``(images * positions, wordlines)``, int32, of images ``(images, channels, height, width)``."""
    top, left = unfold.padding
    padded = nn.functional.pad(codes.float(), (left, left, top, top), value=padding)
    columns = nn.functional.unfold(padded, unfold.kernel, unfold.dilation, 0, unfold.stride)
    return columns.transpose(1, 2).flatten(0, 1).to(torch.int32)
