"""Where the project lies, whichever folder a command is given in: paths that a user gives are relative to that folder,
what is not given is looked for there and then in the checkout that the package runs from."""

from pathlib import Path

from bitslice.errors import BitsliceError

CHECKOUT = Path(__file__).parents[2]
"""The folder that the package lies in: a checkout where it is installed as editable."""

DATA_VARIABLE = "BITSLICE_DATA"
"""Environment variable that names the folder of the data sets."""


def is_project(folder: Path) -> bool:
    """Whether ``folder`` has the project's notebooks and its ``pyproject.toml``."""
    return (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir()


def root() -> Path:
    """The project's folder: the working directory (as a relative path), else the checkout.

    Raises:
        BitsliceError: if neither is one.
    """
    for folder in (Path(), CHECKOUT):
        if is_project(folder):
            return folder
    raise BitsliceError(
        f"neither {Path.cwd()} nor {CHECKOUT}, where the package lies, is the project's folder, with notebooks/ and "
        "pyproject.toml: go to a checkout"
    )


def found(path: Path) -> Path:
    """A relative ``path`` in the working directory, or in the checkout where that alone has it."""
    elsewhere = CHECKOUT / path
    return elsewhere if not path.exists() and elsewhere.exists() and is_project(CHECKOUT) else path
