"""What every table is made with: Markdown from rows, text from numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown

from bitslice.book.analysis import Spread


def markdown(rows: Sequence[Mapping[str, Any]]) -> Markdown:
    """Rows of equal keys as a Markdown table; a line in its place where there are none."""
    if not rows:
        return Markdown("*No runs to show.*")
    return Markdown(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def text(value: Spread | None) -> str:
    """Mean and standard deviation, or a dash."""
    return "–" if value is None else value.text()


def number(value: float | None, scale: float) -> str:
    """``value`` times ``scale``, to three figures, or a dash."""
    if value is None:
        return "–"
    return f"{scale * value:.3g}" if scale * value < 100 else f"{scale * value:,.0f}"
