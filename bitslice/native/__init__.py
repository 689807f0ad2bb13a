"""Compiled kernels: plain C, built at installation for several vector levels and loaded at run time.

Every kernel has a form in torch beside it, which is its reference, and its fallback where no compiler was at hand. The
libraries know nothing of Python or torch: they get addresses and counts. They run on torch's own threads: compiled for
OpenMP but not linked with it, they find the runtime that torch has loaded. (Any other thread would have to wait for a
core on which one of torch's still spins.)
"""

import ctypes
import enum
import logging
import os
from functools import cache
from importlib.util import find_spec

import torch  # noqa: F401  # its OpenMP runtime must be there before a library is loaded

from bitslice.errors import BitsliceError

VARIABLE = "BITSLICE_NATIVE"
"""Environment variable that asks for one :class:`Level` by its value, or for torch alone with ``off``."""


class Level(enum.Enum):
    """Which instructions a library uses, from the fewest to the most; on other CPUs than x86-64 only ``BASE``."""

    BASE = "base"
    """Those every CPU of its architecture has."""
    V3 = "v3"
    """AVX2 (x86-64-v3)."""
    V4 = "v4"
    """AVX-512 with vector population counts (x86-64-v4 and more)."""


def library_file(level: Level) -> str | None:
    """Path of the library built at ``level``; None if the installation has none."""
    spec = find_spec(f"{__name__}._{level.value}")
    return spec.origin if spec else None


@cache
def levels() -> tuple[Level, ...]:
    """The levels that are built and that this CPU has, from the fewest instructions to the most."""
    base = library_file(Level.BASE)
    if base is None:
        return ()
    try:
        beyond = ctypes.CDLL(base).vector_levels()
    except OSError:  # there is no OpenMP runtime of torch's that it could use
        return ()
    return tuple(level for level in list(Level)[: 1 + beyond] if library_file(level))


def chosen() -> Level | None:
    """The best level, or the one that ``BITSLICE_NATIVE`` names; None stands for torch alone.

    Raises:
        BitsliceError: if ``BITSLICE_NATIVE`` names no level, or one that is not built or that this CPU lacks.
    """
    found = levels()
    wish = os.environ.get(VARIABLE)
    if wish == "off":
        return None
    if wish is None:
        if not found:
            logging.getLogger("bitslice").warning(
                "bitslice: the C kernels were not built at installation; using the slower torch path"
            )
            return None
        return found[-1]
    names = [level.value for level in Level]
    if wish not in names:
        raise BitsliceError(f"{VARIABLE} must be one of {', '.join(names)} or off, not {wish!r}")
    if Level(wish) not in found:
        have = ", ".join(level.value for level in found) or "none"
        raise BitsliceError(f"{VARIABLE} asks for {wish}, but what is built here and runs on this CPU is: {have}")
    return Level(wish)


@cache
def library() -> ctypes.CDLL | None:
    """The kernels at the :func:`chosen` level; None stands for torch alone."""
    level = chosen()
    return None if level is None else ctypes.CDLL(library_file(level))
