"""The book as one PDF, printed by Chromium: ``python -m bitslice.book.pdf``, which ``make pdf`` does.

All pages become one of HTML, in which links between them are links within it; links to files beside the book, which
a PDF does not have, become plain text.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write

SOURCE = Path("build/book/source")
PAGES = Path("build/pdf")
PDF = Path("build/bitslice.pdf")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def without_files(text: str) -> str:
    """HTML whose links lead into it or to other hosts alone.

    >>> without_files('<a href="#x">a</a> <a class="b" href="figures/a.svg">SVG</a> <a href="https://b.org">b</a>')
    '<a href="#x">a</a> <a class="b">SVG</a> <a href="https://b.org">b</a>'
    """
    return re.sub(r'(<a\b[^>]*?) href="(?!#|https?:)[^"]*"', r"\1", text)


def make() -> Path:
    """Print the book that ``make book`` gathered; gives the PDF.

    Raises:
        BitsliceError: if there is no book, no Chromium, or either step fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BitsliceError(f"a PDF is printed by Chromium, and none of {', '.join(BROWSERS)} is here: install one")
    if not SOURCE.is_dir():
        raise BitsliceError(f"there is no {SOURCE}: make book")
    _run(
        [Path(sys.executable).with_name("jupyter-book"), "build", SOURCE, "--config", "_config.yml", "--quiet"],
        ["--builder", "custom", "--custom-builder", "singlehtml", "--path-output", PAGES],
    )
    page = PAGES / "_build/singlehtml/index.html"
    # The root has no anchor of the name by which Sphinx links to it.
    page.write_text(without_files(page.read_text()).replace('href="#document-index"', 'href="#"'))
    with atomic_write(PDF) as path:
        _run(
            [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"],
            ["--no-sandbox"] if os.geteuid() == 0 else [],  # as root it has none
            ["--generate-pdf-document-outline", "--virtual-time-budget=20000", f"--print-to-pdf={path.absolute()}"],
            [page.absolute().as_uri()],
        )
    return PDF


def _run(*parts: Sequence[str | Path]) -> None:
    command = [str(word) for part in parts for word in part]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BitsliceError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-500:]}")


if __name__ == "__main__":
    try:
        print(f"The book is at {make()}")
    except BitsliceError as error:
        print(f"bitslice: {error}", file=sys.stderr)
        sys.exit(2)
