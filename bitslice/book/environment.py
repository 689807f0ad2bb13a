"""Which packages are installed, and whether they are those of the lock file."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from bitslice.errors import BitsliceError
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


def locked(lock: Path | None = None) -> dict[str, str]:
    """Versions in a lock file by package, as they apply to this machine; None: the project's ``requirements.lock``.

    Raises:
        BitsliceError: if there is none.
    """
    lock = lock or root() / "requirements.lock"
    if not lock.exists():
        raise BitsliceError(f"there is no lock file at {lock}")
    lines = re.findall(r"^([a-z0-9].*?) *\\\\?$", lock.read_text(), flags=re.MULTILINE)
    wanted = [Requirement(line) for line in lines]
    return {
        requirement.name: next(iter(requirement.specifier)).version
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate()
    }


def differences(lock: Path | None = None) -> list[str]:
    """Where what is installed differs from a lock file, a phrase a package; builds, as in 2.0+cpu, are not compared."""
    found = []
    for name, version in locked(lock).items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} is missing")
            continue
        if installed.partition("+")[0] != version:
            found.append(f"{name} is {installed}, not {version}")
    return found
