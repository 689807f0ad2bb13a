"""Everyday accidents, which really happen here: killed engines, full disks, read-only folders, damaged files."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bitslice.book import notebooks
from bitslice.errors import BitsliceError
from bitslice.lab import records, training
from bitslice.lab.disk import sha256
from bitslice.lab.words import Method
from tests.conftest import silent, small

ROOT = Path(__file__).parents[1]
SNAKEFILE = f"""
localrules: all

rule all:
    input: "report.json", "double.ipynb"

rule report:
    output: "report.json"
    shell: "{sys.executable} -m bitslice crossbar report tests.test_report:example --adc-bits 3,3,3,1 --images 30"
           " --observed-images 20 --json > {{output}}"

rule notebook:
    output: "double.ipynb"
    shell: "{sys.executable} -m bitslice notebook double -p x 21 --out {{output}}"
"""

CHAIN = """
rule all:
    input: "second"

rule first:
    output: "first"
    shell: "date +%N > {output}"

rule second:
    input: "first"
    output: "second"
    shell: "touch begun; while [ ! -e go ]; do sleep 0.1; done; touch {output}"
"""


def project(folder: Path) -> Path:
    """A project with one small notebook and a graph of one report and that notebook."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "Snakefile").write_text(SNAKEFILE)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [
        nbformat.v4.new_code_cell("x: float = 1.0  # what to double", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(2 * x)"),
    ]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "notebooks/double.ipynb"
    )
    return folder


def engine(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """``make`` there, without its environment."""
    command = [
        sys.executable,
        "-m",
        "bitslice.book.engine",
        "--cores",
        "2",
        "--rerun-incomplete",
        *arguments,
        "--",
        "all",
    ]
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(run: subprocess.Popen[str], jobs: bool) -> None:
    """SIGKILL for an engine, with its jobs or alone, so that these go on."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if jobs else os.kill)(run.pid, signal.SIGKILL)
    run.wait()
    assert run.stderr is not None
    run.stderr.close()  # jobs that go on would keep whoever reads it waiting


def made(folder: Path) -> tuple[Any, Any]:
    """What the graph of :func:`project` made: the report but for its provenance, and the notebook's outputs."""
    report = json.loads((folder / "report.json").read_text())
    del report["provenance"]
    return report, [cell.get("outputs") for cell in nbformat.read(folder / "double.ipynb", as_version=4).cells]


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_an_engine_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path, kills: int) -> None:
    straight, killed = project(tmp_path / "straight"), project(tmp_path / "killed")
    started = time.monotonic()
    errors = (run := engine(straight)).communicate()[1]
    assert run.returncode == 0, errors
    usual, chance = time.monotonic() - started, random.Random(0)
    for _ in range(kills):
        run = engine(killed)
        time.sleep(usual * chance.uniform(0.1, 0.9))
        kill(run, jobs=chance.random() < 0.5)
        if run.returncode == 0:  # it was done before: something to do again
            for name in chance.sample(["report.json", "double.ipynb"], 1):
                (killed / name).unlink()
    errors = (run := engine(killed)).communicate()[1]
    assert run.returncode == 0, errors
    assert made(killed) == made(straight)


def test_finished_work_is_kept(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    (folder / "Snakefile").write_text(CHAIN)
    run = engine(folder)
    while not (folder / "begun").exists():
        assert run.poll() is None
        time.sleep(0.05)
    kill(run, jobs=True)
    before = (folder / "first").read_bytes()
    (folder / "go").touch()
    errors = (run := engine(folder)).communicate()[1]
    assert run.returncode == 0, errors
    assert (folder / "first").read_bytes() == before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small disk of its own, with these options."""
    mounted: set[Path] = set()

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no disk may be mounted here")
        mounted.add(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> None:
    free = os.statvfs(place)
    (place / "filled").write_bytes(bytes(free.f_bavail * free.f_frsize))


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("digits")
def test_a_full_disk_is_one_line_and_keeps_what_was_there(disk: Callable[..., Path]) -> None:
    place = disk("size=4m")
    training.run(small(Method.QUANTIZED), place / "runs", report=silent)
    whole = {name: sha256(place / name) for name in left(place)}
    fill(place)
    with pytest.raises(BitsliceError, match=r"cannot write .*: No space left on device"):
        training.run(small(Method.BL1), place / "runs", report=silent, checkpoint_seconds=0)
    assert {name: sha256(place / name) for name in left(place) if name != "filled"} == whole
    (place / "filled").unlink()
    training.run(small(Method.BL1), place / "runs", report=silent)
    assert [record.config.method for record in records.read_all(place)] == [Method.BL1, Method.QUANTIZED]


def test_a_notebook_on_a_full_disk_is_one_line(
    disk: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project(tmp_path / "project"))
    place = disk("size=64k")
    fill(place)
    with pytest.raises(BitsliceError, match=r"cannot write .*: No space left on device"):
        notebooks.run("double", {"x": "1"}, place / "double.ipynb")
    assert left(place) == ["filled"]


def test_a_read_only_folder_is_one_line(disk: Callable[..., Path]) -> None:
    place = disk("size=1m")
    project(place / "project")
    disk("remount,ro")
    run = engine(place / "project")
    errors = run.communicate()[1]
    assert run.returncode == 2
    assert errors == "bitslice: cannot write .snakemake: Read-only file system\n"


@pytest.mark.usefixtures("digits")
def test_a_writer_that_was_killed_leaves_nothing_that_is_taken_for_a_record(tmp_path: Path) -> None:
    training.run(small(Method.QUANTIZED), tmp_path, report=silent)
    text = (tmp_path / "quantized-s0.json").read_text()
    (tmp_path / ".bl1-s0.json.a1b2c3d4.json").write_text(text[: len(text) // 2])
    assert [record.path.name for record in records.read_all(tmp_path)] == ["quantized-s0.json"]


def test_a_damaged_page_is_named_and_made_again(tmp_path: Path) -> None:
    for name in ("book", "build/executed"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "book/build.sh", tmp_path / "book")
    page = tmp_path / "build/executed/adc.ipynb"
    page.write_text('{"cells": [{"cell_type"')
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = ["bash", str(tmp_path / "book/build.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "build/executed/adc.ipynb was damaged and is removed: the same command makes it again\n"
    assert not page.exists()
