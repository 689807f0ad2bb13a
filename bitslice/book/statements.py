"""Numbers that prose states, each with what the records say today. What tables print is computed with their page."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bitslice.book import analysis
from bitslice.costs import SABERI
from bitslice.lab import minilm, models, records
from bitslice.lab import report as reporting
from bitslice.lab.disk import read_json
from bitslice.lab.project import found
from bitslice.lab.records import Record
from bitslice.lab.verification import Check
from bitslice.lab.words import Method


@dataclass(frozen=True)
class Statement:
    """Words with numbers in them.

    Attributes:
        page: where they stand, a file relative to the project's folder.
        words: exactly as there, but for line breaks.
        expected: the numbers.
        find: gives what the records, or the formulas, say.
        tolerance: by how much each may differ, as the words are rounded.
    """

    page: str
    words: str
    expected: tuple[float, ...]
    find: Callable[[], Sequence[float]]
    tolerance: float = 0.0

    def check(self) -> Check:
        """The numbers against what they state."""
        return Check(self.words, self.expected, tuple(map(float, self.find())), self.tolerance)

    def stands(self) -> bool:
        """Whether the page still has the words."""
        text = found(Path(self.page)).read_text()
        if self.page.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        return self.words in " ".join(text.split())


@cache
def _released() -> list[Record]:
    return records.read_all()


def _parameters(network: str) -> int:
    return sum(parameter.numel() for parameter in models.build(network).parameters())


def _sentences() -> list[float]:
    sentences, topics = minilm.listed()
    return [len(sentences), len(set(topics.tolist()))]


def _seeds(experiment: str) -> list[float]:
    """How many seeds bit-slice L1 has at its default alpha."""
    profile = analysis.released(_released())[experiment]
    return [len(analysis.at_default_alpha(analysis.select(_released(), experiment, Method.BL1, profile)))]


@cache
def _engine() -> dict[str, Any]:
    return read_json(found(Path("book/engine.json")), "record of the engine's benchmark", dict)


def _beside() -> list[float]:
    """Hours of one core that 1,000 runs with a simulation each cost beside their work."""
    return [2000 * (_engine()["job_seconds"] + _engine()["start_seconds"]) / 3600]


def _gpu_hours() -> list[float]:
    return [(20 * 90 + 980 * 18) * 1_281_167 / 1000 / 3600]


def _core_hours() -> list[float]:
    """Of 1,000 simulations on 1,000 images, 100 times what ResNet-20 takes an image and setting, at the median."""
    reports = [reporting.read(path) for path in found(Path("simulations/report") / _RESNET20).glob("*.json")]
    each = statistics.median(r.provenance["wall_seconds"] / r.images / len(r.settings) for r in reports)
    return [1000 * 1000 * 100 * each / 3600]


def _gigabytes() -> list[float]:
    """Of 1,000 networks of 25.6 million weights, as many bytes a weight as VGG-11's files have at the mean."""
    sizes = [path.stat().st_size for path in found(Path("results") / _VGG11).glob("*.npz")]
    return [1000 * 25.6e6 * statistics.fmean(sizes) / _parameters("vgg11_bn") / 1e9]


_COSTS, _OWN, _VGG11_PAGE = (f"notebooks/{name}.ipynb" for name in ("costs", "own", "vgg11"))
_USE = "book/use.md"
_RESNET20, _VGG11 = "cifar10-resnet20", "cifar10-vgg11-bn"

STATEMENTS = (
    Statement(
        _COSTS,
        "28.4x and 14.2x in power and 8x and 2.67x in time",
        (28.4, 14.2, 8.0, 2.67),
        lambda: [saving(bits) for saving in (SABERI.power_saving, SABERI.time_saving) for bits in (1, 3)],
        0.05,
    ),
    Statement(_OWN, "48 sentences of ours, four on each of twelve topics", (48, 12), _sentences),
    Statement(_OWN, "one is 2.1 points", (2.1,), lambda: [100 / minilm.read().sentences], 0.05),
    Statement(_VGG11_PAGE, "of 9.75 million weights", (9.75,), lambda: [_parameters("vgg11_bn") / 1e6], 0.01),
    Statement(
        _VGG11_PAGE, "36 times as many", (36.0,), lambda: [_parameters("vgg11_bn") / _parameters("resnet20")], 0.5
    ),
    Statement(_USE, "adds 0.02 s a job of its own", (0.02,), lambda: [_engine()["job_seconds"]], 0.005),
    Statement(_USE, "2.0 s to start Python and torch", (2.0,), lambda: [_engine()["start_seconds"]], 0.05),
    Statement(_USE, "with a simulation each in 14 s", (14.0,), lambda: [_engine()["plan_seconds"]], 0.5),
    Statement(_USE, "cost 1.1 hours of one core", (1.1,), _beside, 0.05),
    Statement(_USE, "6,918 GPU hours", (6918,), _gpu_hours, 0.5),
    Statement(_USE, "92 core hours", (92,), _core_hours, 0.5),
    Statement(_USE, "14.4 GB of integer weights", (14.4,), _gigabytes, 0.05),
    Statement("book/deviations.md", "five at the default alphas", (5,), lambda: _seeds("mnist")),
    Statement("book/deviations.md", "two for ResNet-20 at the default alphas", (2,), lambda: _seeds(_RESNET20)),
)
"""Every number in prose that is a result. Settings and definitions stand in the code that reads or tests them."""
