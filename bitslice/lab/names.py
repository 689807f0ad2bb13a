"""Looking things up by the names that users type."""

import enum
import re
from collections.abc import Mapping
from typing import TypeVar

from bitslice.errors import BitsliceError

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)


def by_name(kind: str, choices: Mapping[str, T], name: str) -> T:
    """The choice called ``name``.

    Raises:
        BitsliceError: naming the valid ones.
    """
    if name not in choices:
        raise BitsliceError(f"unknown {kind} {name!r}; choose from {', '.join(choices)}")
    return choices[name]


def by_value(kind: type[E], value: str) -> E:
    """The member of an enum with this ``value``.

    Raises:
        BitsliceError: naming the valid ones.
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
    return by_name(words, {member.value: member for member in kind}, value)
