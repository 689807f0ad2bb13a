"""One style for all figures, and the four files and one book entry that each figure becomes.

Colours are Okabe and Ito's, told apart by colour-blind readers; in grey print methods differ by lightness and marker,
slices by their place. Inside the book a figure is an inline SVG whose text takes the colour of the page, so that it
reads in the light and in the dark theme.
"""

import html
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from bitslice.book import drawn
from bitslice.book.folders import FORMATS, figures_folder
from bitslice.files import atomic_write
from bitslice.lab.experiments import EXPERIMENTS
from bitslice.lab.records import Record
from bitslice.lab.words import Method

INK = "#1b1c1d"
"""Colour of text, axes and reference lines; nothing else may have it, since it follows the page's theme in the book."""

SLICE_COLOURS = {"B3": "#D55E00", "B2": "#E69F00", "B1": "#56B4E9", "B0": "#0072B2"}
"""A colour per slice: warm for the most significant, cold for the least."""

_MARKS = (("#777777", "D"), ("#999999", "s"), ("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "v"), ("#CC79A7", "P"))
"""Colours and markers for methods, in their order."""

METHOD_NAMES = {method.value: method.title for method in Method}
_DRAWN = [method.value for method in Method if method is not Method.FLOAT]
METHOD_COLOURS = {name: colour for name, (colour, _) in zip(_DRAWN, _MARKS, strict=True)}
METHOD_MARKERS = {name: marker for name, (_, marker) in zip(_DRAWN, _MARKS, strict=True)}

EXPERIMENT_NAMES = {name: experiment.title for name, experiment in EXPERIMENTS.items()}


def use_style() -> None:
    """Set the style of every figure that follows."""
    sns.set_theme(context="notebook", style="ticks", palette=list(SLICE_COLOURS.values()))
    settings: dict[Any, Any] = {
        "figure.figsize": (7.0, 3.6),
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.labelsize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 10,
        "patch.edgecolor": "none",
        "svg.hashsalt": "bitslice",
        "pdf.fonttype": 42,
        "text.color": INK,
        **{f"{item}.color": INK for item in ("xtick", "ytick")},
        **{f"axes.{item}color": INK for item in ("edge", "label", "title")},
    }
    mpl.rcParams.update(settings)


class Page:
    """The notebook that figures belong to; knows what to print beneath each of them.

    Args:
        notebook: its name, as in ``notebooks/NAME.ipynb``.
        parameters: the notebook's parameters, as they are.
        folder: where the figures' files go; None: as :func:`bitslice.book.folders.figures_folder` says.
    """

    def __init__(self, notebook: str, folder: Path | None = None, **parameters: Any) -> None:
        self.notebook = notebook
        self.folder = folder or figures_folder()
        self.parameters = parameters
        use_style()

    def show(
        self,
        figure: Figure,
        name: str,
        caption: str,
        records: Iterable[Record | Path] = (),
        *,
        upright: Figure | None = None,
        alt: str | None = None,
        touch: str = "",
    ) -> "Shown":
        """Write ``name`` as SVG, PDF and PNG, what it shows as CSV, and give its book entry.

        Args:
            figure: what to show; it is closed.
            name: file name without suffix, and the label that ``{numref}`` takes.
            caption: plain text.
            records: what the figure was drawn from: runs, or files of other results.
            upright: the same for a narrow screen, which shows it instead; written as ``name_upright``.
            alt: what is seen, for those who cannot; None: its curves and numbers, as :func:`bitslice.book.drawn.words`
                reads them off.
            touch: the same to be touched, shown in its place where scripts run: an element by
                :mod:`bitslice.book.touch`; empty: there is none.
        """
        narrow = "" if upright is None else self.show(upright, f"{name}_upright", caption, alt=alt).svg
        seen = drawn.words(figure) if alt is None else alt
        with atomic_write(self.folder / f"{name}.csv") as path:
            drawn.table(figure).to_csv(path, index=False, lineterminator="\n")
        with atomic_write(self.folder / f"{name}.svg") as path:
            path.write_text(svg(figure, name, facecolor="white"))
        for suffix, metadata in {"pdf": {"CreationDate": None}, "png": {}}.items():
            with atomic_write(self.folder / f"{name}.{suffix}") as path:
                figure.savefig(path, format=suffix, dpi=200, facecolor="white", metadata=metadata)
        text = svg(figure, name, transparent=True)
        plt.close(figure)
        paths = [record.path if isinstance(record, Record) else record for record in records]
        return Shown(
            name=name,
            svg=inline_svg(text, seen),
            caption=caption,
            sources=self.sources(name, paths),
            alt=seen,
            png=self.folder / f"{name}.png",
            upright=narrow,
            touch=touch,
        )

    def sources(self, name: str, records: list[Path]) -> str:
        """Links to a figure's files, its notebook and its records, as HTML."""
        files = " ".join(f'<a href="figures/{name}.{suffix}">{suffix.upper()}</a>' for suffix in FORMATS)
        parts = [files, f'notebook <a href="notebooks/{self.notebook}.ipynb">{self.notebook}</a>']
        if self.parameters:
            parts.append("parameters " + html.escape(assignments(self.parameters)))
        if records:
            parts.append(record_links(records))
        return " · ".join(parts)


@dataclass(frozen=True, repr=False)
class Shown:
    """A figure as notebooks display it: in a browser, as a picture where there is none, as words in a terminal.

    Attributes:
        name: its label.
        svg: the picture, an element of a page.
        caption: plain text.
        sources: where it comes from, HTML.
        alt: what is seen, plain text.
        png: the picture's file.
        upright: the picture for a narrow screen; empty: the same.
        touch: the figure to be touched; empty: there is none.
    """

    name: str
    svg: str
    caption: str
    sources: str
    alt: str
    png: Path
    upright: str = ""
    touch: str = ""

    def _repr_html_(self) -> str:
        """The book's extension takes it apart at these very tags and numbers it."""
        printed = f'<div class="canvas">{self.svg}</div>'
        if self.upright:
            printed += f'<div class="canvas upright">{self.upright}</div>'
        if self.touch:
            printed = f'{self.touch}<details class="printed" open><summary>As printed</summary>{printed}</details>'
        return (
            f'<figure class="plot" id="{self.name}">{printed}<figcaption><span class="caption">'
            f'{html.escape(self.caption)}</span><div class="sources">{self.sources}</div></figcaption></figure>'
        )

    def _repr_png_(self) -> bytes:
        return self.png.read_bytes()

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.alt}\n{self.png.name}"


def assignments(parameters: Mapping[str, Any]) -> str:
    """``a=1, b='x'``."""
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def record_links(records: list[Path]) -> str:
    """Links to records, folded away where they are many."""
    links = ", ".join(f'<a href="{path.as_posix()}">{html.escape(path.stem)}</a>' for path in records)
    if len(records) <= 4:
        return f"records {links}"
    return f"<details><summary>{len(records)} records</summary>{links}</details>"


def svg(figure: Figure, name: str, **options: Any) -> str:
    """A figure as SVG, the same text for the same picture; ``options`` are those of ``Figure.savefig``."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, **options)
    return name_clip_paths(text.getvalue(), name)


def name_clip_paths(text: str, name: str) -> str:
    """An SVG whose clip paths are named after the figure and their order.

    Their names by matplotlib follow coordinates to the last bit, and the layout's last bits differ from run to run.

    >>> name_clip_paths('<g clip-path="url(#p6a)"/><clipPath id="p6a"/><path fill="url(#h1)"/>', "idea")
    '<g clip-path="url(#idea-clip1)"/><clipPath id="idea-clip1"/><path fill="url(#h1)"/>'
    """
    found = re.findall(r'<clipPath id="(\w+)"', text)
    names = {old: f"{name}-clip{place}" for place, old in enumerate(found, start=1)}
    return re.sub(r'(?<=id=")\w+|(?<=url\(#)\w+', lambda old: names.get(old[0], old[0]), text)


def inline_svg(text: str, title: str) -> str:
    """An SVG file as an element of a page: fluid width, the page's text colour, an accessible name.

    >>> inline_svg('<?xml?><svg width="10pt" height="5pt" viewBox="0 0 10 5"><g/></svg>', "A & B")
    '<svg role="img" aria-label="A &amp; B" viewBox="0 0 10 5"><g/></svg>'
    """
    body = text[text.index("<svg") :].strip().replace(INK, "currentColor")
    head, rest = body.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head).replace(
        "<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1
    )
    return f"{head}>{rest}"
