"""``bitslice notebook``: run a notebook with other parameters."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitslice.errors import BitsliceError

if TYPE_CHECKING:
    from bitslice.book.notebooks import Listed


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    notebook = commands.add_parser("notebook", help="run a notebook with other parameters")
    notebook.add_argument("name", nargs="?", help="as in notebooks/NAME.ipynb")
    notebook.add_argument("--list", action="store_true", help="list notebooks, their parameters and how long they took")
    notebook.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="repeatable; paths are seen from the project's folder",
    )
    notebook.add_argument("--parameters", dest="file", type=Path, help="YAML file, as make book PARAMETERS= takes")
    notebook.add_argument("--out", type=Path, help="executed notebook (default build/notebooks/NAME.ipynb)")
    notebook.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.book import notebooks

    if options.list:
        print("\n\n".join(described(each) for each in notebooks.listed()))
        return
    if options.name is None:
        raise BitsliceError("which notebook? bitslice notebook --list names them")
    given = notebooks.from_file(options.file).get(options.name, {}) if options.file else {}
    for path in notebooks.run(options.name, given | dict(options.parameters), options.out):
        print(path)


def described(notebook: "Listed") -> str:
    """A notebook and its parameters, a line each: name, type, default, meaning."""
    times = {"when last run here": notebook.seconds, "as released": notebook.released}
    took = ", ".join(f"{seconds:.0f} s {when}" for when, seconds in times.items() if seconds is not None)
    lines = [f"{notebook.name} ({took or 'not run here yet'})"]
    lines += [
        f"  {name:<16} {found['inferred_type_name']:<6} {found['default']:<38} {found['help']}"
        for name, found in notebook.parameters.items()
    ]
    return "\n".join(lines)
