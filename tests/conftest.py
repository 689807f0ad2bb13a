"""What the tests share: synthetic digits that a network can learn, and small configurations."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import hypothesis
import pytest
import torch

from bitslice.lab import training
from bitslice.lab.config import Config
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.experiments import mnist
from bitslice.lab.provenance import Provenance
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile

hypothesis.settings.register_profile("bitslice", deadline=None, max_examples=60)
hypothesis.settings.register_profile("slow", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile("bitslice")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no other worker waits for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_book.py")


def synthetic_digits(count: int, seed: int) -> Images:
    """Noise with one bright block whose place is the label: 28x28 images, learnable in a few dozen steps."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    pixels = torch.randint(0, 60, (count, 1, 28, 28), generator=generator).to(torch.uint8)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        row, column = divmod(label, 5)
        image[0, 14 * row : 14 * row + 14, 5 * column : 5 * column + 5] += 150
    return Images(pixels, labels, mean=(0.25,), std=(0.25,))


SOURCE = Provenance(commit="0" * 40, python="3.11", torch="2", numpy="2", device="a CPU", threads=1, wall_seconds=60.0)
"""Where results that no test asks about came from."""

QUANTIZED_METHODS: tuple[Method, ...] = tuple(method for method in Method if method is not Method.FLOAT)

TRAIN = synthetic_digits(600, seed=1)
TEST = synthetic_digits(200, seed=2)


def small(method: Method, seed: int = 0, alpha: float | None = None) -> Config:
    """The smoke configuration of MNIST with less ADC work."""
    return replace(mnist(method, Profile.SMOKE, seed, alpha), adc_images=10)


def silent(_: str) -> None:
    """A progress report that nobody reads."""


@dataclass
class Trained:
    """One folder with the record of every method but the float baseline, trained on :data:`TRAIN`."""

    folder: Path
    records: dict[Method, Record]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training reads the synthetic digits instead of MNIST."""
    monkeypatch.setitem(DATA_SETS, "mnist", lambda train: TRAIN if train else TEST)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Every method but the float baseline, trained once. Tests must not change the folder."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATA_SETS, "mnist", lambda train: TRAIN if train else TEST)
        records = {method: training.run(small(method), folder, report=silent) for method in QUANTIZED_METHODS}
    return Trained(folder, records)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Within it no file can grow beyond ``size`` bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
