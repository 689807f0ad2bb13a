"""Tables of what was done so that small ADCs do, and of what that gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from bitslice.book import analysis
from bitslice.book.analysis import Spread, spread
from bitslice.book.figures import METHOD_NAMES
from bitslice.book.tables.cells import text
from bitslice.crossbar.geometry import RowOrder
from bitslice.lab.experiments import CLAIMED, LEVELS, PLAIN, Adaptation
from bitslice.lab.records import Record
from bitslice.lab.report import Report

REMEDIES = {
    "report": "As trained",
    "spread": "Rows spread",
    "calibrated": "Calibrated",
    "spread-calibrated": "Rows spread, calibrated",
    "headroom": "Rows spread, 2 bits of headroom",
    "headroom-calibrated": "Rows spread, 2 bits of headroom, calibrated",
}
"""Kinds of report, by their folder, with what was done for small ADCs."""

ADAPTATIONS = {
    "Trained through ADCs": Adaptation(RowOrder.CONSECUTIVE),
    "Rows spread, trained through ADCs": PLAIN,
    "Rows spread, 2 bits of headroom, trained through ADCs": Adaptation(headroom=2),
    "Rows spread, levels found by layer, trained through ADCs": LEVELS,
}
"""How networks were adapted to their ADCs."""


def remedies(
    reports: Mapping[str, Mapping[str, Sequence[Report]]], adapted: Mapping[str, Mapping[str, Sequence[Record]]]
) -> list[dict[str, Any]]:
    """Accuracy with the claimed ADCs: a row a remedy, a column a method, mean and standard deviation over seeds.

    Args:
        reports: by kind (a key of ``REMEDIES``) and method, one a seed; a kind without any has no row.
        adapted: records of runs adapted to the claimed ADCs, by a key of ``ADAPTATIONS`` and method; likewise.
    """
    methods = reports["report"]

    def row(title: str, accuracies: Mapping[str, Spread | None]) -> dict[str, Any]:
        cells = {}
        for method, found in methods.items():
            own = accuracies.get(method)
            count = f" (n={own.n})" if own and own.n != len(found) else ""
            cells[f"{METHOD_NAMES[method]} (%, n={len(found)})"] = text(own) + count
        return {"For the ADCs": title} | cells

    def through_adcs(record: Record) -> float:
        return float(record.final["adc_accuracy"])

    rows = [row("No ADCs", {m: Spread(tuple(r.digital_accuracy for r in found)) for m, found in methods.items()})]
    for kind, title in REMEDIES.items():
        if found := reports.get(kind):
            rows.append(row(title, {m: analysis.accuracies(listed).get(CLAIMED) for m, listed in found.items()}))
    trained = {title: adapted[title] for title in ADAPTATIONS if adapted.get(title)}
    return rows + [
        row(t, {m: spread(listed, through_adcs) for m, listed in runs.items()}) for t, runs in trained.items()
    ]


def by_headroom(reports: Mapping[int, Mapping[str, Sequence[Report]]]) -> list[dict[str, Any]]:
    """Accuracy with the claimed ADCs, and without crossbars in brackets: a row a headroom, a column a method.

    Args:
        reports: by bits of headroom and method, one a seed.
    """
    rows = []
    for bits, methods in reports.items():
        row = {"Headroom (bits)": str(bits)}
        for method, found in methods.items():
            digital = Spread(tuple(report.digital_accuracy for report in found))
            row[METHOD_NAMES[method]] = f"{text(analysis.accuracies(found).get(CLAIMED))} ({digital.mean:.2f})"
        rows.append(row)
    return rows


def adapted_costs(
    records: Sequence[Record], adapted: Mapping[str, Mapping[str, Sequence[Record]]]
) -> list[dict[str, Any]]:
    """What the ADCs cost networks that were adapted to them, a row an adaptation and method.

    Args:
        records: to find the networks in that the adapted ones started from.
        adapted: runs by a key of ``ADAPTATIONS`` and method, one a seed.
    """
    costs = {(t, m): analysis.adapted_cost(records, runs) for t, found in adapted.items() for m, runs in found.items()}
    return [
        {"Network": METHOD_NAMES[m], "Adapted": title, "n": str(cost.n), "Points lost": cost.text()}
        for (title, m), cost in costs.items()
        if cost
    ]
