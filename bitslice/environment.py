"""The pinned environment: which versions are installed, and ``environment.yml`` kept equal to ``requirements.lock``."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

LOCK = Path("requirements.lock")
CONDA = Path("environment.yml")


def direct_requirements(project: Path = Path("pyproject.toml")) -> list[str]:
    """Names of the packages that the project asks for itself, sorted."""
    table = tomllib.loads(project.read_text())["project"]
    wanted = [*table["dependencies"], *(r for extra in table["optional-dependencies"].values() for r in extra)]
    return sorted({re.split(r"[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in wanted})


def locked(lock: Path = LOCK, python: str = "3.11") -> dict[str, str]:
    """Pinned version of every package in the lock file, as it applies to this Python."""
    pins = {}
    for line in lock.read_text().splitlines():
        match = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ; (.*?))? \\", line)
        if match and (not match[3] or "python_full_version" not in match[3] or f"< '{python[:2]}12'" in match[3]):
            pins[match[1]] = match[2]
    return pins


def versions() -> dict[str, str]:
    """Installed versions of the project's own requirements."""
    return {name: metadata.version(name) for name in direct_requirements()}


def conda_environment() -> str:
    """``environment.yml``: conda gives Python, pip the same pins as the lock file."""
    pins = locked()
    lines = [f"      - {name}=={pins[name]}" for name in direct_requirements()]
    return "\n".join(
        [
            "# Made by `make lock` from requirements.lock: the same versions for conda users.",
            "#   conda env create --file environment.yml && conda activate bitslice",
            "name: bitslice",
            "channels: [conda-forge]",
            "dependencies:",
            "  - python=3.11",
            "  - make",
            "  - pip",
            "  - pip:",
            *lines,
            "      - --editable .",
            "",
        ]
    )


if __name__ == "__main__":
    CONDA.write_text(conda_environment())
