"""The table of the opening page."""

from collections.abc import Mapping
from typing import Any

from bitslice.book.analysis import Cell, Standing
from bitslice.lab.experiments import EXPERIMENTS

MARKS = {Standing.HOLDS: "●", Standing.PARTLY: "◐", Standing.FAILS: "○"}
"""A sign that tells without colour."""


def claims_by_network(found: Mapping[str, Mapping[str, Cell | None]]) -> list[dict[str, Any]]:
    """A row a claim, a column a network: whether it holds, linked to what shows it, and the number."""
    return [
        {"Claim": claim} | {EXPERIMENTS[experiment].short: _text(cell) for experiment, cell in cells.items()}
        for claim, cells in found.items()
    ]


def _text(cell: Cell | None) -> str:
    return "–" if cell is None else f"{MARKS[cell.standing]} [{cell.standing.value}]({cell.evidence}): {cell.number}"
