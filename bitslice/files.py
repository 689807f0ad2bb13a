"""Files: written so that a killed process or a full disk never leaves half of one, and read back with clear errors."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path`` in one step, on failure it vanishes.

    Raises:
        BitsliceError: if the folder cannot be written (read-only, full disk, a file in the way).
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise BitsliceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
