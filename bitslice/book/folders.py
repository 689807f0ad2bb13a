"""Where figures go, and as what files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitslice.lab.project import DATA_VARIABLE

FIGURES_VARIABLE = "BITSLICE_FIGURES"
"""Environment variable that names the folder of the figures' files; the book's build sets it to ``figures``."""

FORMATS = ("svg", "pdf", "png", "csv")
"""Files of a figure, by suffix: pictures, and the numbers drawn."""

ELSEWHERE = Path("build/notebooks/figures")
"""Where they go without it, so that a notebook run with other parameters leaves the book's figures alone."""


def figures_folder() -> Path:
    """The folder of the figures' files."""
    return Path(os.environ.get(FIGURES_VARIABLE, ELSEWHERE))


@contextmanager
def kept_in_place() -> Iterator[None]:
    """Within it folders that the environment names stay those of today's working directory in any other one."""
    before = {name: os.environ.get(name) for name in (FIGURES_VARIABLE, DATA_VARIABLE)}
    os.environ[FIGURES_VARIABLE] = str(figures_folder().absolute())
    if data := before[DATA_VARIABLE]:
        os.environ[DATA_VARIABLE] = str(Path(data).absolute())
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
