"""What make does about its environment, without the packages: made once, and anew where it cannot serve."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitslice.book.sources import PACKAGE

ENVIRONMENT = Path(".venv/pyvenv.cfg")
READY = Path(".venv/.ready")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the environment is made from; the working directory."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(PACKAGE.parent / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    return folder


def make(*arguments: object, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = ["make", *map(str, arguments), f"PYTHON={python}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def would_install() -> bool:
    """Whether ``make book`` would install packages."""
    done = make("--dry-run", READY)
    assert done.returncode == 0, done.stderr
    return "uv pip install" in done.stdout


def made() -> Path:
    """A file in an environment that is complete but for its packages; it vanishes with it."""
    done = make(ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    READY.touch()
    return READY


def test_an_environment_is_made_once() -> None:
    assert would_install()
    mark = made()
    assert make(ENVIRONMENT).returncode == 0
    assert mark.exists()
    assert not would_install()


def test_an_environment_that_was_moved_is_made_anew(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = made()
    moved = checkout.rename(checkout.with_name("moved, there"))
    monkeypatch.chdir(moved)
    assert would_install()
    assert make(ENVIRONMENT).returncode == 0
    assert not mark.exists()
    assert str(moved / ".venv") in Path(".venv/bin/pip").read_text()


def test_an_environment_without_pip_is_made_anew() -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], check=True)
    assert would_install()
    assert make(ENVIRONMENT).returncode == 0
    assert os.access(".venv/bin/pip", os.X_OK)


@pytest.mark.parametrize(
    "lacking",
    [
        '[ "$1" = -c ] && exit 1; exit 0',  # too old, or without ensurepip
        '[ "$1" = -c ] && exit 0; mkdir -p .venv/bin; touch .venv/bin/python .venv/pyvenv.cfg; exit 1',
    ],
)
def test_a_python_that_makes_no_environment_is_named_in_one_line_and_leaves_none(tmp_path: Path, lacking: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{lacking}\n")
    python.chmod(0o755)
    done = make(ENVIRONMENT, python=str(python))
    assert done.returncode
    assert done.stderr.splitlines()[0].startswith("bitslice needs Python 3.11 or newer with its venv module")
    assert not Path(".venv").exists()
    assert make(ENVIRONMENT, python=f"{python} {sys.executable}").returncode == 0  # the next one that will do
