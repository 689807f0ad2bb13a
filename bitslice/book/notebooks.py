"""Running the project's notebooks with other parameters; unlike papermill alone, what does not fit is refused."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from bitslice.book.folders import kept_in_place
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.names import by_name
from bitslice.lab.project import root

EXECUTED = Path("build/notebooks")
"""Where executed notebooks go unless told otherwise, relative to the working directory."""


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


def run(name: str, given: Mapping[str, str], output: Path | None = None) -> Path:
    """Execute a notebook in the project's folder and write it, with its outputs, in one step.

    What it writes, its figures too, goes to the working directory.

    Args:
        name: as in ``notebooks/NAME.ipynb``.
        given: parameters as text.
        output: the executed notebook; None: ``build/notebooks/NAME.ipynb``.

    Returns:
        The executed notebook's path.

    Raises:
        BitsliceError: for an unknown notebook or parameter, a value of the wrong type, or a cell that fails.
    """
    values = parameters(name, given)
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
    except DeadKernelError as error:
        raise BitsliceError(f"notebook {name} was ended: its kernel is gone") from error
    except papermill.PapermillExecutionError as error:
        raise BitsliceError(f"notebook {name}, cell {error.exec_count}: {error.ename}: {error.evalue}") from error
    return output


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
