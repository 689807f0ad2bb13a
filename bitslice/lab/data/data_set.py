"""What a data set is: verified files on disk, held as one uint8 tensor."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bitslice.lab.data.download import fetch_verified
from bitslice.lab.project import DATA_VARIABLE, found


@dataclass(frozen=True)
class Images:
    """Labelled images on one device.

    Attributes:
        pixels: uint8, ``(images, channels, height, width)``.
        labels: int64, ``(images,)``.
        mean, std: per channel over the training set, of pixels scaled to [0, 1].
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Images":
        """The first ``count`` images; None: all."""
        return Images(self.pixels[:count], self.labels[:count], self.mean, self.std)

    def last(self, count: int) -> "Images":
        """The last ``count`` images."""
        return Images(self.pixels[-count:], self.labels[-count:], self.mean, self.std)

    def to(self, device: torch.device, layout: torch.memory_format = torch.contiguous_format) -> "Images":
        """The same images on ``device``, their pixels laid out in memory as ``layout`` says."""
        pixels = self.pixels.to(device, memory_format=layout)
        return Images(pixels, self.labels.to(device), self.mean, self.std)


def data_folder() -> Path:
    """Where data sets are kept: ``$BITSLICE_DATA``, else ``data`` in the working directory or the project's folder."""
    told = os.environ.get(DATA_VARIABLE)
    return found(Path("data")) if told is None else Path(told)


@dataclass(frozen=True)
class DataSet:
    """A data set by name; call it for its images.

    Attributes:
        name: as users type it.
        title: as messages print it.
        folder: of its files, within the data folder.
        files: official md5 by name.
        download: the content of every file; may use the scratch folder it is given.
        read: images from the verified files in the data folder; the training ones or the test ones.
    """

    name: str
    title: str
    folder: str
    files: Mapping[str, str]
    download: Callable[[Path], dict[str, bytes]]
    read: Callable[[Path, bool], Images]

    def __call__(self, train: bool, folder: Path | None = None) -> Images:
        """The training or the test images, fetched at first use; ``folder`` is the data folder unless given.

        Raises:
            BitsliceError: if the data cannot be fetched, or does not match the official checksums.
        """
        folder = folder or data_folder()
        self.fetch(folder)
        return self.read(folder, train)

    def fetch(self, folder: Path) -> Path:
        """Make sure that the data folder holds every file; nothing is fetched twice. Gives the files' own folder.

        Raises:
            BitsliceError: if a file, present or downloaded, does not have its md5, or cannot be downloaded.
        """
        fetch_verified(folder / self.folder, self.files, self.title, self.download)
        return folder / self.folder

    def paths(self) -> list[str]:
        """Its files, relative to the data folder."""
        return [f"{self.folder}/{name}" for name in self.files]
