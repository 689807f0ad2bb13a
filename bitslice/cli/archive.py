"""``bitslice archive``: what was built, in one file with a description and checksums."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    archive = commands.add_parser("archive", help="put book, figures, records and lock into one file (make archive)")
    archive.add_argument("--out", type=Path, help="the file (default build/bitslice-VERSION.tar)")
    archive.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice import __version__
    from bitslice.book.archive import archive
    from bitslice.lab.project import root

    out = options.out or Path(f"build/bitslice-{__version__}.tar")
    digest = archive(root(), out)
    print(f"{out}: {out.stat().st_size / 1e6:.0f} MB, SHA-256 {digest}")
