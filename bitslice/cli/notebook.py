"""``bitslice notebook``: run a notebook with other parameters."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    notebook = commands.add_parser("notebook", help="run a notebook with other parameters")
    notebook.add_argument("name", help="as in notebooks/NAME.ipynb")
    notebook.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="repeatable; paths are seen from the project's folder",
    )
    notebook.add_argument("--out", type=Path, help="executed notebook (default build/notebooks/NAME.ipynb)")
    notebook.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.book import notebooks

    print(notebooks.run(options.name, dict(options.parameters), options.out))
