"""What a figure shows, read off what matplotlib drew: as a table, and in words for those who cannot see it."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

COLUMNS = ("panel", "series", "x axis", "y axis", "x", "x deviation", "y", "y deviation", "value")
"""Columns of :func:`table`; those that a figure leaves empty are absent."""

DETAILED = 12
"""Most series that :func:`words` speaks of one by one."""

Row = dict[str, Any]


def table(figure: Figure) -> pd.DataFrame:
    """Every mark, bar and cell of a figure, a line each; of a picture without any, its numbers and where they stand."""
    rows = [row for axes in figure.axes for row in _axes_rows(axes)]
    if not rows:
        rows = [
            {"panel": _title(axes), "x": text.get_position()[0], "y": text.get_position()[1], "text": text.get_text()}
            for axes in figure.axes
            for text in axes.texts
        ]
        return pd.DataFrame(rows)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.dropna(axis="columns", how="all").loc[:, lambda found: (found != "").any()]


def words(figure: Figure) -> str:
    """A figure's panels, axes and curves in words: what is seen, with its numbers."""
    rows = pd.DataFrame([row for axes in figure.axes for row in _axes_rows(axes)], columns=list(COLUMNS))
    if rows.empty:
        texts = [_title(axes) for axes in figure.axes] + [
            text.get_text() for axes in figure.axes for text in axes.texts
        ]
        read = dict.fromkeys(text.replace("\n", ", ") for text in texts if re.search("[A-Za-z]{2}", text))
        return f"A drawing that reads: {'; '.join(read)}."
    panels = [found for _, found in rows.groupby(["panel", "x axis", "y axis"], sort=False)]
    series = rows.groupby(["panel", "x axis", "series"], sort=False).ngroups
    said = [_panel(found, detailed=series <= DETAILED) for found in panels]
    return (f"{len(panels)} panels. " if len(panels) > 1 else "") + " ".join(said)


def _panel(rows: pd.DataFrame, detailed: bool) -> str:
    title, x_axis, y_axis = (str(rows.iloc[0][name]) for name in ("panel", "x axis", "y axis"))
    head = f"{title}: " if title else ""
    axes = " against ".join(name for name in (y_axis, x_axis) if name)
    if rows["value"].notna().any():
        shown = rows["value"].dropna()
        return f"{head}{len(rows):,} cells, {(shown != 0).sum():,} not zero, the largest {shown.max():g}."
    curves = [(str(name), found) for name, found in rows.groupby("series", sort=False)]
    if not detailed:
        spans = [f"{name or 'marks'} {_span(found['y'])}" for name, found in curves]
        return f"{head}{axes}: {'; '.join(spans)}."
    return f"{head}{axes}: " + "; ".join(_curve(name, found) for name, found in curves) + "."


def _curve(name: str, rows: pd.DataFrame) -> str:
    first, last = rows.iloc[0], rows.iloc[-1]
    head = f"{name} " if name else ""
    if len(rows) == 1 or first["x"] == "":
        return f"{head}{_number(first['y'])}" + (f" at {_number(first['x'])}" if first["x"] != "" else " throughout")
    if len(rows) <= 5:
        return head + ", ".join(f"{_number(y)} at {_number(x)}" for x, y in zip(rows["x"], rows["y"], strict=True))
    ends = f"from {_number(first['y'])} at {_number(first['x'])} to {_number(last['y'])} at {_number(last['x'])}"
    return f"{head}{ends}, {_span(rows['y'])}"


def _span(values: "pd.Series[Any]") -> str:
    numbers = pd.to_numeric(values, errors="coerce").dropna()
    if numbers.empty:
        return f"{len(values)} lines"
    return f"between {_number(numbers.min())} and {_number(numbers.max())}"


def _number(value: Any) -> str:
    return (
        value.replace("\n", " ") if isinstance(value, str) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    )


def _title(axes: Axes) -> str:
    """Titles of the panel and of the part of the figure that it is in."""
    part = axes.get_figure()
    around = part.get_suptitle() if isinstance(part, SubFigure) else ""
    titles = [around, *(axes.get_title(loc=place) for place in ("left", "center", "right"))]
    return ", ".join(title.replace("\n", ", ") for title in titles if title)


def _axes_rows(axes: Axes) -> Iterator[Row]:
    if not axes.axison or axes.get_label() == "<colorbar>":
        return
    beside = [sibling.get_ylabel() for sibling in axes.get_shared_y_axes().get_siblings(axes)]
    below = [sibling.get_xlabel() for sibling in axes.get_shared_x_axes().get_siblings(axes)]
    named = {
        "panel": _title(axes),
        "x axis": (axes.get_xlabel() or next(filter(None, below), "")).replace("\n", " "),
        "y axis": (axes.get_ylabel() or next(filter(None, beside), "")).replace("\n", " "),
    }
    labels = _labels_by_colour(axes)
    of_bars = {id(bars.errorbar) for bars in axes.containers if isinstance(bars, BarContainer) and bars.errorbar}
    held: set[int] = set()
    for container in axes.containers:
        if isinstance(container, BarContainer):
            yield from ({**named, **row} for row in _bars(axes, container))
        elif isinstance(container, ErrorbarContainer):
            held.add(id(container.lines[0]))
            if id(container) not in of_bars:
                yield from ({**named, **row} for row in _points(axes, container))
        held.update(id(cap) for cap in (container.lines[1] if isinstance(container, ErrorbarContainer) else ()))
    for line in axes.lines:
        series = _series(line.get_label()) or labels.get(to_hex(line.get_color()), "")
        if id(line) in held or (line.get_transform() != axes.transData and not _series(line.get_label())):
            continue
        if line.get_transform() != axes.transData:  # a line across the panel, such as axhline
            yield {**named, "series": series, "x": "", "y": float(np.asarray(line.get_ydata(), dtype=float)[0])}
            continue
        x, y = _places(line.get_xdata(), axes.xaxis), _places(line.get_ydata(), axes.yaxis)
        whole = np.isfinite(np.asarray(line.get_xdata(), dtype=float) + np.asarray(line.get_ydata(), dtype=float))
        yield from ({**named, "series": series, "x": a, "y": b} for a, b, fine in zip(x, y, whole, strict=True) if fine)
    for drawn in axes.collections:
        if isinstance(drawn, QuadMesh):
            cells: Any = np.ma.filled(np.ma.asarray(drawn.get_array(), dtype=float), 0.0)
            yield from ({**named, "series": "", "x": j, "y": i, "value": v} for (i, j), v in np.ndenumerate(cells))
        elif isinstance(drawn, PathCollection):
            colours = [to_hex(colour) for colour in (*drawn.get_facecolors(), *drawn.get_edgecolors())]  # type: ignore[attr-defined]
            own = _series(drawn.get_label()) or labels.get(colours[0] if colours else "", "")
            x, y = (
                _places(values, axis)
                for values, axis in zip(np.asarray(drawn.get_offsets()).T, (axes.xaxis, axes.yaxis), strict=True)
            )
            yield from ({**named, "series": own, "x": a, "y": b} for a, b in zip(x, y, strict=True))


def _series(label: object) -> str:
    """A label as readers know it; one behind an underscore stands in no legend, and matplotlib's own count as none."""
    text = str(label)
    return "" if re.match(r"_(child|container|nolegend)", text) else text.removeprefix("_").replace("\n", " ")


def _labels_by_colour(axes: Axes) -> dict[str, str]:
    """What a colour stands for in this figure, for marks without a label of their own."""
    found = {}
    for other in axes.get_figure(root=True).axes:  # type: ignore[union-attr]
        for handle, label in zip(*other.get_legend_handles_labels(), strict=True):
            line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
            if isinstance(line, Line2D):
                found[to_hex(line.get_color())] = _series(label)
    return found


def _bars(axes: Axes, bars: BarContainer) -> Iterator[Row]:
    upright = bars.orientation != "horizontal"
    if not any(b.get_height() if upright else b.get_width() for b in bars.patches):
        return  # drawn for the legend's sake
    deviations = _deviations(bars.errorbar, 1) if bars.errorbar else []
    series = _series(bars.get_label())
    middles = [b.get_x() + b.get_width() / 2 if upright else b.get_y() + b.get_height() / 2 for b in bars.patches]
    names = _places(middles, axes.xaxis if upright else axes.yaxis)
    for place, (bar, name) in enumerate(zip(bars.patches, names, strict=True)):
        length = float(f"{bar.get_height() if upright else bar.get_width():.6g}")
        row = {"series": series, "x": name, "y": length} if upright else {"series": series, "x": length, "y": name}
        yield row | ({"y deviation": deviations[place]} if deviations else {})


def _points(axes: Axes, points: ErrorbarContainer) -> Iterator[Row]:
    line, series = points.lines[0], _series(points.get_label())
    x, y = _places(line.get_xdata(), axes.xaxis), _places(line.get_ydata(), axes.yaxis)
    across = _deviations(points, 0) if points.has_xerr else [None] * len(x)
    upward = _deviations(points, 1) if points.has_yerr else [None] * len(y)
    for a, da, b, db in zip(x, across, y, upward, strict=True):
        yield {"series": series, "x": a, "x deviation": da, "y": b, "y deviation": db}


def _deviations(points: ErrorbarContainer, direction: int) -> list[float]:
    """Half the lengths of error bars, 0: those across, 1: those upward."""
    bars = points.lines[2]
    drawn: LineCollection = bars[0 if len(bars) == 1 else direction]
    return [float(f"{abs(end[direction] - begin[direction]) / 2:.6g}") for begin, end in drawn.get_segments()]


def _places(values: Any, axis: Axis) -> list[Any]:
    """Positions on an axis; where it counts categories, the names of those nearest."""
    numbers, places = np.asarray(values, dtype=float), np.asarray(axis.get_majorticklocs(), dtype=float)
    labels = axis.get_major_formatter().format_ticks(places.tolist())  # of the axis; a shared one shows them elsewhere
    fixed = isinstance(axis.get_major_locator(), FixedLocator)
    if fixed and any(not _says(label, place) for label, place in zip(labels, places, strict=True)):
        return [labels[int(np.abs(places - number).argmin())].replace("\n", " ") for number in numbers]
    return [float(f"{number:.6g}") for number in numbers]


def _says(label: str, place: float) -> bool:
    """Whether a tick's label is its position."""
    try:
        return not label or float(label.replace("\N{MINUS SIGN}", "-")) == place
    except ValueError:
        return "$" in label
