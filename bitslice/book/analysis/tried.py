"""What was tried so that small ADCs do: kinds of reports, ways of training, and all of both by experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitslice.book.analysis.seeds import Spread
from bitslice.book.analysis.selection import adapted, beside, read_each
from bitslice.crossbar.geometry import RowOrder
from bitslice.lab.adaptation import (
    ALLOCATED_MEANS,
    CLAIMED,
    DISTILLED,
    DOUBLE,
    GAUSSIAN,
    LEVELS,
    LONGER,
    PLAIN,
    SEVEN_BITS,
    SINGLE,
    STRAIGHT,
    TWO_BIT,
    Adaptation,
)
from bitslice.lab.records import Record
from bitslice.lab.report import Report, read
from bitslice.lab.words import Method

REMEDIES = {
    "report": "As trained",
    "spread": "Rows spread",
    "headroom": "2 bits of headroom",
    "levels": "Levels found",
    "seven_bits": "1 bit of headroom, levels found",
}
"""Kinds of report, by their folder, with what was done for small ADCs; from the second on rows are spread, and where
levels were found batch norm was estimated again too."""

WHOLE = ("report", "levels", "seven_bits")
"""Those of them that classify the whole test set."""

ADAPTATIONS = {
    "Trained through, rows in order": Adaptation(row_order=RowOrder.CONSECUTIVE),
    "Trained through": PLAIN,
    "Trained through, straight-through gradient": STRAIGHT,
    "Trained through, Gaussian gradient": GAUSSIAN,
    "2 bits of headroom, trained through": Adaptation(headroom=2),
    "Levels found, trained through": LEVELS,
    "Levels found, trained through for 10 epochs": LONGER,
    "Levels found once, distilled for 14 epochs": DISTILLED,
    **{
        f"1 bit of headroom, distilled{'' if how.epochs is None else f' for {how.epochs} epochs'}": how
        for how in SEVEN_BITS
    },
    "2,2,2,1 with 1 bit of headroom, distilled": TWO_BIT,
    **{f"Allocated, {how.adc_mean:g} bits on average, distilled": how for how in ALLOCATED_MEANS},
    "2,2,2,1 with levels chosen by the loss, trained through": DOUBLE,
    "1 bit in every slice, likewise, once trained through those": SINGLE,
}
"""How networks were adapted to ADCs; but for the first, rows are spread. Where they were distilled or ADCs allocated,
batch norm was estimated again."""

THROUGH_CLAIMED = {title: how for title, how in ADAPTATIONS.items() if how.adc_bits == CLAIMED}
"""Those of them with the claimed ADCs."""

ALLOCATED = "Resolutions allocated"
"""Title of what gives every layer and slice a resolution of its own; levels are found too."""

ByMethod = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Tried:
    """What was tried with the networks of one experiment.

    Attributes:
        reports: by kind (a key of :data:`REMEDIES`) and method, one a seed; a kind may be missing.
        adapted: records of runs adapted to ADCs, by a title in :data:`ADAPTATIONS` and method.
        paths: of the files of both.
    """

    reports: Mapping[str, Mapping[str, Sequence[Report]]]
    adapted: Mapping[str, ByMethod]
    paths: Sequence[Path] = ()

    @property
    def plain(self) -> Mapping[str, Sequence[Report]]:
        """Reports by method whose networks are as trained: those of the first kind there is."""
        return next(iter(self.reports.values()))

    @property
    def quantized(self) -> float:
        """Percent that the quantized network has without ADCs, on average, by which others are measured."""
        return Spread(tuple(report.digital_accuracy for report in self.plain[Method.QUANTIZED.value])).mean


def tried(records: Sequence[Record], folder: Path) -> dict[str, Tried]:
    """All that was tried, by experiment.

    Args:
        records: runs, adapted or not.
        folder: of reports on them, as ``<kind>/<experiment>/<run>.json``.

    Raises:
        BitsliceError: if a kind has no report, or a file is none.
    """
    paths = {kind: beside(records, folder / kind) for kind in REMEDIES}
    reports = {kind: read_each(found, read) for kind, found in paths.items()}
    found = {}
    for experiment in reports["report"]:
        own = {kind: each[experiment] for kind, each in reports.items() if experiment in each}
        runs = {title: adapted(records, experiment, how) for title, how in ADAPTATIONS.items()}
        files = [run.path for methods in runs.values() for listed in methods.values() for run in listed]
        files += [path for kind in own for listed in paths[kind][experiment].values() for path in listed]
        found[experiment] = Tried(own, runs, files)
    return found


def inside(title: str) -> str:
    """A title as part of a sentence.

    >>> inside("Rows spread")
    'rows spread'
    """
    return f"{title[0].lower()}{title[1:]}"
