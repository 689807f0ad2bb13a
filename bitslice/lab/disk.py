"""Files read back with clear errors, folders that can be written, checksums."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bitslice.errors import BitsliceError

T = TypeVar("T")


def read_json(path: Path, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    """What ``build`` makes of a JSON file.

    Args:
        path: the file.
        kind: what it should be, for the errors.
        build: from the file's object; may raise what a wrong object makes it raise.

    Raises:
        BitsliceError: if there is no such file, or it is not of this kind.
    """
    try:
        return build(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BitsliceError(f"no {kind} at {path}") from error
    except Exception as error:  # a wrong object makes ``build`` raise many kinds
        raise BitsliceError(f"{path} is not a {kind}: {error}") from error


def check_writable(folder: Path) -> None:
    """Raise :class:`BitsliceError` unless a file can be made in ``folder``, which is created if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BitsliceError(f"cannot write {folder}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
