"""The same configuration, seed and thread count give the same bytes twice in a row, whatever Python hashes with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from bitslice.book.folders import FORMATS
from bitslice.book.sources import PACKAGE

ROOT = PACKAGE.parent
TRAINED = """
from pathlib import Path
from bitslice.lab import training
from bitslice.lab.data import DATA_SETS
from bitslice.lab.words import Method
from tests.conftest import TEST, TRAIN, silent, small
DATA_SETS["mnist"] = lambda train: TRAIN if train else TEST
training.run(small(Method.BL1), Path(), report=silent)
"""
REPORTED = """
import sys
from bitslice.cli import main
sys.stdout = open("report", "w")
options = "--adc-bits 3,3,3,1 --images 30 --observed-images 20 --json"
main(["crossbar", "report", "tests.test_report:example", *options.split()])
"""


def in_two_folders(tmp_path: Path, *arguments: str) -> list[dict[str, bytes]]:
    """Every file that Python, run with these arguments in an empty folder, leaves there; twice."""
    folders = [tmp_path / seed for seed in ("1", "2")]
    for folder in folders:
        folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BITSLICE_FIGURES": "figures"}
    runs = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | {"PYTHONHASHSEED": folder.name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    for run in runs:
        errors = run.communicate()[1]
        assert run.returncode == 0, errors
    return [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    ]


def without_provenance(content: bytes) -> dict[str, Any]:
    return {key: value for key, value in json.loads(content).items() if key != "provenance"}


def test_a_record_with_its_weights_and_state(tmp_path: Path) -> None:
    first, second = in_two_folders(tmp_path, "-c", TRAINED)
    names = {"bl1-s0.json", "bl1-s0.npz", "quantized-s0.json", "quantized-s0.npz", "quantized-s0.state.npz"}
    assert first.keys() == second.keys() == names
    for name in names:
        kind = without_provenance if name.endswith(".json") else bytes
        assert kind(first[name]) == kind(second[name]), name


def test_a_report(tmp_path: Path) -> None:
    first, second = (without_provenance(found["report"]) for found in in_two_folders(tmp_path, "-c", REPORTED))
    assert first == second


def test_a_page_with_its_figures(tmp_path: Path) -> None:
    first, second = in_two_folders(tmp_path, "-m", "bitslice", "notebook", "index", "--out", "page.ipynb")
    drawn = {f"figures/{name}.{suffix}" for name in ("idea", "idea_upright") for suffix in FORMATS}
    assert drawn == first.keys() - {"page.ipynb"}
    pages = [nbformat.reads(found.pop("page.ipynb").decode(), as_version=4) for found in (first, second)]
    assert first == second
    shown = [[(cell.source, cell.get("outputs")) for cell in page.cells] for page in pages]
    assert shown[0] == shown[1]
