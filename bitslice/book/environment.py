"""Which versions of the project's own requirements are installed."""

import re
import tomllib
from importlib import metadata

from bitslice.lab.project import root


def direct_requirements() -> list[str]:
    """Names of the packages that the project asks for itself, sorted."""
    table = tomllib.loads((root() / "pyproject.toml").read_text())["project"]
    wanted = [*table["dependencies"], *(r for extra in table["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[<>=!~; \[]", requirement, maxsplit=1)[0] for requirement in wanted}
    return sorted(names - {table["name"]})  # one extra may ask for another


def versions() -> dict[str, str]:
    """Installed versions of the project's own requirements."""
    return {name: metadata.version(name) for name in direct_requirements()}
