"""Running the project's notebooks with other parameters; unlike papermill alone, what does not fit is refused."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from bitslice.book.folders import FIGURES_VARIABLE, figures_folder, kept_in_place
from bitslice.book.single_page import has_book, relink, single_page
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.disk import read_json
from bitslice.lab.names import by_name
from bitslice.lab.project import root

EXECUTED = Path("build/notebooks")
"""Where executed notebooks go unless told otherwise, relative to the working directory."""

BOOKS = Path("build/executed")
"""Where those of the book go, likewise."""

TIMES = Path("book/notebooks.json")
"""How long notebooks took, relative to the project's root: ``python -m benchmarks.notebooks``."""


SOCKET_PATH = 100
"""Most characters in the path of a Unix socket: systems allow 103 (macOS) or 107 (Linux)."""


@contextmanager
def local_kernel() -> Iterator[Config]:
    """Settings of a kernel reached through sockets in a temporary folder of its own, which goes with the kernel.

    Nothing listens on TCP, and parallel kernels cannot collide; the default would be names in the working directory.
    """
    parent = tempfile.gettempdir()
    longest = len(str(Path(parent, "bitslice-12345678", "socket-12")))
    with tempfile.TemporaryDirectory(prefix="bitslice-", dir=parent if longest <= SOCKET_PATH else "/tmp") as folder:
        place = {"ip": f"{folder}/socket", "connection_file": f"{folder}/kernel.json"}
        yield Config(AsyncKernelManager={"transport": "ipc", **place})


Value = int | float | str | bool


def source(name: str) -> Path:
    """The notebook called ``name``.

    Raises:
        BitsliceError: naming the notebooks there are, or if there is no project (:func:`bitslice.lab.project.root`).
    """
    return by_name("notebook", {path.stem: path for path in sorted((root() / "notebooks").glob("*.ipynb"))}, name)


@dataclass(frozen=True)
class Listed:
    """A notebook as ``bitslice notebook --list`` shows it.

    Attributes:
        name: as users type it.
        parameters: what papermill finds in the parameters cell, by name.
        seconds: how long its last run here took; None: it has not run here.
        released: how long it took where :data:`TIMES` was measured; None: that is not known.
    """

    name: str
    parameters: dict[str, Any]
    seconds: float | None
    released: float | None


def listed() -> list[Listed]:
    """Every notebook with its parameters and how long its last run took, here, for the book or by itself, and there.

    Raises:
        BitsliceError: if :data:`TIMES` is damaged.
    """
    times = root() / TIMES
    released = read_json(times, "record of notebooks' times", _seconds) if times.is_file() else {}
    return [
        Listed(path.stem, papermill.inspect_notebook(str(path)), _measured(path.stem), released.get(path.stem))
        for path in sorted((root() / "notebooks").glob("*.ipynb"))
    ]


def _seconds(read: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(took) for name, took in read["seconds"].items()}


def _measured(name: str) -> float | None:
    """Seconds that a notebook's last run from this folder took; None: there is none."""
    runs = [path for folder in (EXECUTED, BOOKS) if (path := folder / f"{name}.ipynb").exists()]
    if not runs:
        return None
    last = max(runs, key=lambda path: path.stat().st_mtime)
    seconds = nbformat.read(last, as_version=4).metadata.get("papermill", {}).get("duration")
    return None if seconds is None else float(seconds)


def from_file(path: Path) -> dict[str, dict[str, str]]:
    """Parameters of many notebooks from one YAML file, as text, by notebook.

    Beside a notebook's name stand its own parameters; a parameter's name by itself is for every notebook that has it::

        rows: 64            # on every page with arrays
        adc:
          images: 50        # on this page alone

    Raises:
        BitsliceError: if the file cannot be read, names what no notebook has, or a value is of the wrong type.
    """
    try:
        given = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise BitsliceError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise BitsliceError(f"{path} should hold parameters by name, as in 'rows: 64'")
    known = {each.name: each.parameters for each in listed()}
    found: dict[str, dict[str, str]] = {name: {} for name in known}
    for name, value in given.items():
        having = [notebook for notebook, has in known.items() if name in has]
        if name in known and isinstance(value, dict):
            continue
        if not having:
            raise BitsliceError(f"{path}: {name!r} is neither a notebook nor a parameter of one")
        for notebook in having:
            found[notebook][name] = str(value)
    for name, own in given.items():
        if name in known and isinstance(own, dict):
            found[name] |= {key: str(value) for key, value in own.items()}
    for name, values in found.items():
        parameters(name, values)
    return {name: values for name, values in found.items() if values}


def parse(name: str, text: str, kind: str) -> Value:
    """A parameter's value from the command line, by the type of the notebook's parameters cell.

    >>> parse("rows", "64", "int"), parse("alpha", "1", "float"), parse("signed", "false", "bool")
    (64, 1.0, False)

    Raises:
        BitsliceError: if the text is not a value of that type.
    """
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise BitsliceError(f"parameter {name} takes a value of type {kind}, not {text!r}") from error
    return text


def parameters(name: str, given: Mapping[str, str]) -> dict[str, Value]:
    """Typed values for the parameters in ``given``.

    Raises:
        BitsliceError: for a parameter that the notebook does not have, or a value of the wrong type.
    """
    known: dict[str, Any] = papermill.inspect_notebook(str(source(name)))
    unknown = [key for key in given if key not in known]
    if unknown:
        valid = ", ".join(f"{key} ({found['inferred_type_name']})" for key, found in known.items()) or "none"
        raise BitsliceError(f"notebook {name} has no parameter {unknown[0]!r}; it has: {valid}")
    return {key: parse(key, text, known[key]["inferred_type_name"]) for key, text in given.items()}


def run(name: str, given: Mapping[str, str], output: Path | None = None) -> list[Path]:
    """Execute a notebook in the project's folder and write it, with its outputs, in one step.

    What it writes, its figures too, goes to the working directory. Outside the book's build its links lead to files
    from where it lies, and it is written as one page besides that looks like the book's.

    Args:
        name: as in ``notebooks/NAME.ipynb``.
        given: parameters as text.
        output: the executed notebook; None: ``build/notebooks/NAME.ipynb``.

    Returns:
        The executed notebook's path, and that of its page.

    Raises:
        BitsliceError: for an unknown notebook or parameter, a value of the wrong type, or a cell that fails; if the
            page cannot be built, and then the notebook is there.
    """
    values, alone = parameters(name, given), FIGURES_VARIABLE not in os.environ
    output = output or EXECUTED / f"{name}.ipynb"
    try:
        with atomic_write(output) as path, local_kernel() as settings, kept_in_place():
            papermill.execute_notebook(
                str(source(name)),
                str(path),
                parameters=values,
                kernel_name="python3",
                cwd=str(root()),
                config=settings,
            )
            fold_parameters(path)
            executed = path.read_text()
            if alone:
                relink(path, output, figures_folder())
    except DeadKernelError as error:
        raise BitsliceError(f"notebook {name} was ended: its kernel is gone") from error
    except papermill.PapermillExecutionError as error:
        raise BitsliceError(f"notebook {name}, cell {error.exec_count}: {error.ename}: {error.evalue}") from error
    if not (alone and has_book()):
        return [output]
    html = single_page(executed, output, figures_folder())
    with atomic_write(output.with_suffix(".html")) as page:
        page.write_text(html)
    return [output, output.with_suffix(".html")]


def fold_parameters(path: Path) -> None:
    """Fold the parameters cell of an executed notebook and drop the injected one, so that neither clutters its page."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags and "remove-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
            cell.metadata["mystnb"] = {"code_prompt_show": "Parameters", "code_prompt_hide": "Parameters"}
        elif "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-input"]
    nbformat.write(notebook, path)
