"""What a configuration or another record may hold, and where two of them differ."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bitslice.errors import BitsliceError
from bitslice.lab.words import Profile

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def checked(kind: type[T], values: Any) -> T:
    """An object of a dataclass, made from plain JSON values that fit its annotations, fields within fields too.

    Raises:
        ValueError: naming the first that does not fit, is missing or unknown.
    """
    try:
        made: T = _adapter(kind).validate_python(values, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return made


def differing_fields(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """Where two configurations differ, as ``field is X, not Y`` with X the value in ``theirs``."""
    found = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_fields(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {b!r}, not {a!r}")
    return sorted(found)


def check_alpha(alpha: float) -> None:
    """Raise unless ``alpha`` is a finite number >= 0."""
    if not math.isfinite(alpha) or alpha < 0:
        raise BitsliceError(f"alpha must be a finite number, 0 or larger, not {alpha}")


def check_column_weights(alpha: float) -> int:
    """Raise unless a column can keep ``alpha`` weights."""
    if not (alpha >= 1 and float(alpha).is_integer()):
        raise BitsliceError(f"alpha of column pruning, the weights kept, must be a whole number from 1, not {alpha}")
    return int(alpha)


def check_seed(seed: int) -> int:
    """Raise unless every generator takes ``seed``."""
    if not 0 <= seed < 2**63:
        raise BitsliceError(f"seed must lie between 0 and 2^63 - 1, not {seed}")
    return seed


def of_profile(experiment: str, choices: Mapping[Profile, T], profile: Profile) -> T:
    """What ``choices`` hold for ``profile``.

    Raises:
        BitsliceError: if the experiment has no such profile, naming those it has.
    """
    if profile not in choices:
        names = ", ".join(choice.value for choice in choices)
        raise BitsliceError(f"{experiment} has no profile {profile.value!r}; choose from {names}")
    return choices[profile]
