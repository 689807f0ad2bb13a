"""From the data set on the device to the batches of an epoch: order and augmentation, without worker processes.

All randomness of an epoch comes from one generator on the CPU, so that seed, stage and epoch alone decide what the
network sees, on any device, and a resumed run goes on exactly.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bitslice.lab.data import Images
from bitslice.lab.words import Augmentation

#: Black pixels on every side before a random crop.
PADDING = 4


def crop_flip(pixels: Tensor, corners: Tensor, mirrored: Tensor) -> Tensor:
    """Crop each image at its own corner after padding, and mirror some.

    Args:
        pixels: uint8 ``(batch, channels, height, width)``.
        corners: int64 ``(2, batch)``, row and column of each crop in the padded image, 0 to ``2 * PADDING``.
        mirrored: bool ``(batch,)``.

    Returns:
        uint8, the shape of ``pixels``.
    """
    height, width = pixels.shape[2:]
    windows = nn.functional.pad(pixels, [PADDING] * 4).unfold(2, height, 1).unfold(3, width, 1)
    crops = windows[torch.arange(len(pixels), device=pixels.device), :, corners[0], corners[1]]
    return torch.where(mirrored.view(-1, 1, 1, 1), crops.flip(3), crops)


def batches(
    images: Images, size: int, augmentation: Augmentation, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: pixels (uint8) and labels of ``size`` images at a time, the last batch as it comes.

    Args:
        images: on any device.
        size: of a batch.
        augmentation: applied to every image afresh.
        generator: of the CPU; its state decides the whole epoch.
    """
    device = images.labels.device
    order = torch.randperm(len(images), generator=generator).to(device)
    if augmentation is Augmentation.CROP_FLIP:
        corners = torch.randint(2 * PADDING + 1, (2, len(images)), generator=generator).to(device)
        mirrored = torch.rand(len(images), generator=generator).lt(0.5).to(device)
    for first in range(0, len(images), size):
        span = slice(first, first + size)
        pixels = images.pixels[order[span]]
        if augmentation is Augmentation.CROP_FLIP:
            pixels = crop_flip(pixels, corners[:, span], mirrored[span])
        yield pixels, images.labels[order[span]]


def as_trained(images: Images, augmentation: Augmentation, seed: int) -> tuple[Tensor, Tensor]:
    """All of ``images`` at once as an epoch of training shows them, in random order: pixels (uint8) and labels."""
    return next(batches(images, len(images), augmentation, torch.Generator().manual_seed(seed)))
