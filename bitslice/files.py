"""Files written so that a killed process or a full disk never leaves half of one."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitslice.errors import BitsliceError

try:
    import fcntl
except ImportError:  # not on Windows: there, what killed writers leave stays
    fcntl = None  # type: ignore[assignment]


def _lock(descriptor: int) -> None:
    """Hold a file until its descriptor is closed; raises ``OSError`` where another process does."""
    if fcntl is None:
        raise OSError("no locks")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path`` in one step, on failure it vanishes.

    What killed writers of ``path`` left goes first: a temporary file is locked for as long as its writer lives.

    Raises:
        BitsliceError: if the folder cannot be written (read-only, full disk, a file in the way).
    """
    temporary = handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
            with suppress(OSError), left.open("r+b") as file:
                _lock(file.fileno())
                left.unlink()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        temporary = Path(name)
        with suppress(OSError):  # a file system without locks
            _lock(handle)
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
        if handle is not None:
            os.close(handle)
