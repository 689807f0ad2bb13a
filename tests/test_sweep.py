"""Sweeps: what a file asks for, what is refused, and the table of what was run."""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import fastparquet
import pytest

from bitslice.book.sources import PACKAGE
from bitslice.cli import main
from bitslice.errors import BitsliceError
from bitslice.lab import sweep
from bitslice.lab.words import Method, Profile
from tests.conftest import Trained

GRID = """
experiments = ["mnist"]
methods = ["quantized", "bl1", "l1"]
alphas = [0.25, 0.5]
seeds = [0, 3]
profile = "smoke"
adc_bits = ["3,3,3,1", "3x2,ideal,4,4"]
images = 50
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_a_grid_is_every_run_once_and_alphas_are_for_methods_that_have_one(grid: Path) -> None:
    found = sweep.read(grid)
    names = {name for _, name in found.configs}
    sparse = {f"{run}-s{seed}" for run in ("bl1-a0.25", "bl1", "l1-a0.25", "l1-a0.5") for seed in (0, 3)}
    assert names == {"quantized-s0", "quantized-s3"} | sparse
    assert found.of("mnist", Profile.SMOKE).keys() == names
    assert found.of("mnist", Profile.QUICK) == {}
    assert (found.images, len(found.adc_bits)) == (50, 2)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('experiments = ["mnist", "cifar10-resnet20"]\nmethods = ["bl1"]\nprofile = "smoke"')
    found = sweep.read(path)
    assert list(found.configs) == [("mnist", "bl1-s0"), ("cifar10-resnet20", "bl1-s0")]
    assert (found.adc_bits, found.images) == ((), None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("experiments = [", "is not TOML"),
        ('methods = ["bl1"]', "does not say which experiments"),
        ('experiments = ["mnist"]\nmethods = ["bl2"]', "unknown method 'bl2'"),
        ('experiments = ["mnist"]\nmethods = ["float"]', "a float network has no slices"),
        ('experiments = ["imagenet"]\nmethods = ["bl1"]', "unknown experiment 'imagenet'"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nseed = [0]', "unknown key of a sweep 'seed'"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nseeds = [0.5]', "seeds does not take"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nseeds = [true]', "seeds does not take"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nseeds = []', "seeds does not take"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nseeds = [-1]', "seed"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nalphas = ["much"]', "alphas does not take"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nadc_bits = ["3,3"]', "ADC"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nprofile = ["smoke"]', "profile does not take"),
        ('experiments = ["mnist"]\nmethods = ["bl1"]\nimages = 0', "a simulation needs images"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, text: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was not refused"))
    path = tmp_path / "grid.toml"
    path.write_text(text)
    assert main(["sweep", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BitsliceError, match="no sweep at"):
        sweep.read(tmp_path / "none.toml")


@pytest.fixture
def ran(grid: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder in which the runs of a small grid, and their simulations, lie as the engine leaves them."""
    monkeypatch.chdir(grid.parent)
    grid.write_text(
        GRID.replace('"quantized", "bl1", "l1"', '"pruned", "bl1"').replace("0.25, ", "").replace(", 3", "")
    )
    for method in (Method.PRUNED, Method.BL1):
        record = trained.records[method].path
        runs, reports = Path("build/runs/mnist/smoke"), Path("build/sweep/mnist/smoke")
        for folder in (runs, reports):
            folder.mkdir(parents=True, exist_ok=True)
        for file in (record, record.with_suffix(".npz")):
            (runs / file.name).write_bytes(file.read_bytes())
        words = ["--adc-bits", "3,3,3,1", "--adc-bits", "3x2,ideal,4,4", "--images", "50", "--json"]
        assert main(["crossbar", "report", str(runs / record.name), *words]) == 0
        (reports / record.name).write_text(capsys.readouterr().out)
    return grid


def test_the_table_has_a_row_a_run_and_setting(ran: Path, digits: None, trained: Trained) -> None:
    assert main(["sweep", str(ran), "--table", "table.csv"]) == 0
    with Path("table.csv").open(newline="") as written:
        table = list(csv.DictReader(written))
    assert [(row["method"], row["adc_bits"]) for row in table] == [
        (method, adcs) for method in ("pruned", "bl1") for adcs in ("3,3,3,1", "3x2,ideal,4,4")
    ]
    record = trained.records[Method.BL1]
    assert float(table[2]["accuracy"]) == record.accuracy
    assert [float(table[2][f"density_b{k}"]) for k in (3, 2, 1, 0)] == record.density
    simulated = json.loads(Path("build/sweep/mnist/smoke/bl1-s0.json").read_text())["settings"]
    assert [float(row["adc_accuracy"]) for row in table[2:]] == [setting["accuracy"] for setting in simulated]
    assert [float(table[3][f"clipped_b{k}"]) for k in range(4)] == simulated[1]["clipped"]
    with Path("table.parquet").open("rb") as file:
        typed = fastparquet.ParquetFile(file).to_pandas()
    assert typed.to_csv(index=False) == Path("table.csv").read_text()
    assert {str(typed[name].dtype) for name in ("accuracy", "clipped_b0")} == {"float64"}
    assert (str(typed["seed"].dtype), list(typed["alpha"].isna())) == ("int64", [True, True, False, False])
    before = Path("table.parquet").read_bytes()
    assert main(["sweep", str(ran), "--table", "table.csv"]) == 0
    assert Path("table.parquet").read_bytes() == before
    assert (table[0]["alpha"], table[2]["alpha"], table[0]["simulated_images"]) == ("", "0.5", "50")


def test_without_adcs_it_has_a_row_a_run(ran: Path) -> None:
    ran.write_text(ran.read_text().replace("adc_bits", "# adc_bits"))
    rows = list(sweep.rows(sweep.read(ran), Path("build/runs"), Path("nowhere")))
    assert [row["method"] for row in rows] == ["pruned", "bl1"]
    assert "adc_accuracy" not in rows[0]


def test_a_run_that_is_missing_is_named(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("build/runs/mnist/smoke/bl1-s0.json").unlink()
    assert main(["sweep", str(ran), "--table", "table.csv"]) == 2
    assert "no record at build/runs/mnist/smoke/bl1-s0.json" in capsys.readouterr().err
    assert not Path("table.csv").exists()


def test_a_table_is_csv_with_parquet_beside_it(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(ran), "--table", "table.parquet"]) == 2
    assert "written as FILE.csv and FILE.parquet, not table.parquet" in capsys.readouterr().err
    assert not Path("table.parquet").exists()


def test_the_command_becomes_the_engine(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.chdir(PACKAGE.parent)
    monkeypatch.setattr(os, "execv", lambda *arguments: called.append(arguments))
    assert main(["sweep", str(grid), "--scheduler", "slurm"]) == 0
    ((program, words),) = called
    assert program == words[0] == sys.executable
    profile = str(PACKAGE.parent / "profiles/slurm")
    assert words[1:] == [
        *("-m", "bitslice.book.engine", "--profile", profile),
        *("--config", f"sweep={grid}", "--", "sweep"),
    ]
    assert main(["sweep", str(grid), "--scheduler", "cloud"]) == 2
