"""Numbers that prose states, each with what the records say today. What tables print is computed with their page."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bitslice.book import analysis
from bitslice.costs import SABERI
from bitslice.lab import minilm, models, records
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


_COSTS, _OWN, _VGG11_PAGE = (f"notebooks/{name}.ipynb" for name in ("costs", "own", "vgg11"))

STATEMENTS = (
    Statement(
        _COSTS,
        "28.4x and 14.2x in power and 8x and 2.67x in time",
        (28.4, 14.2, 8.0, 2.67),
        lambda: [saving(bits) for saving in (SABERI.power_saving, SABERI.time_saving) for bits in (1, 3)],
        0.05,
    ),
    Statement(_OWN, "48 sentences of ours, four on each of twelve topics", (48, 12), _sentences),
    Statement(_OWN, "One sentence is 2.1 points", (2.1,), lambda: [100 / minilm.read().sentences], 0.05),
    Statement(_VGG11_PAGE, "of 9.75 million weights", (9.75,), lambda: [_parameters("vgg11_bn") / 1e6], 0.01),
    Statement(
        _VGG11_PAGE, "36 times as many", (36.0,), lambda: [_parameters("vgg11_bn") / _parameters("resnet20")], 0.5
    ),
    Statement("book/deviations.md", "five at the default alphas", (5,), lambda: _seeds("mnist")),
    Statement(
        "book/deviations.md", "two for ResNet-20 at the default alphas", (2,), lambda: _seeds("cifar10-resnet20")
    ),
)
"""Every number in prose that is a result. Settings and definitions stand in the code that reads or tests them."""
