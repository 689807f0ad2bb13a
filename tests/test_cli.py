"""The command line: what it prints, and one line and status 2 for whatever a user can mend."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from bitslice.cli import main
from bitslice.lab import project, records
from bitslice.lab.data import DATA_SETS
from bitslice.lab.project import CHECKOUT
from bitslice.lab.records import read
from bitslice.lab.words import Method
from tests.conftest import Trained


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    """The command ends with status 2, one line on standard error, and nothing on standard output."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bitslice: ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("\n")
    for word in words:
        assert word in captured.err


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write below an empty working directory."""
    monkeypatch.chdir(tmp_path)


class TestTrain:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["cifar", "--method", "bl1"], ["unknown experiment 'cifar'", "mnist"]),
            (["mnist", "--method", "bl2"], ["unknown method 'bl2'", "quantized, pruned, l1, bl1"]),
            (
                ["mnist", "--method", "bl1", "--profile", "huge"],
                ["unknown profile 'huge'", "smoke, quick, cpu, long, paper"],
            ),
            (["mnist", "--method", "bl1", "--input-scaling", "log"], ["'log'", "unit, normalized"]),
            (["mnist", "--method", "bl1", "--alpha", "-1"], ["alpha must be a finite number", "-1"]),
            (["mnist", "--method", "bl1", "--alpha", "-1e-3"], ["alpha must be a finite number", "-0.001"]),
            (["mnist", "--method", "bl1", "--alpha", "nan"], ["alpha must be a finite number", "nan"]),
            (["mnist", "--method", "l1", "--alpha", "inf"], ["alpha must be a finite number", "inf"]),
            (["mnist", "--method", "l1", "--alpha", "-inf"], ["alpha must be a finite number", "inf"]),
            (["mnist", "--method", "l1", "--alpha=-inf"], ["alpha must be a finite number", "inf"]),
            (["mnist", "--method", "bl1", "--alpha", "much"], ["--alpha", "'much'"]),
            (["mnist", "--method", "pruned", "--alpha", "1"], ["pruned has no regularizer"]),
            (["mnist", "--method", "bl1", "--seed", "one"], ["--seed", "'one'"]),
            (["mnist", "--method", "column", "--alpha", "2.5"], ["whole number", "2.5"]),
            (["mnist", "--method", "bl1", "--pretrain-alpha", "-1"], ["alpha", "-1"]),
            (["mnist", "--method", "bl1", "--seed", "-1"], ["seed", "-1"]),
            (["mnist", "--method", "bl1", "--threads", "0"], ["thread", "0"]),
            (["mnist", "--method", "bl1", "--device", "tpu9"], ["device 'tpu9'"]),
            (["mnist", "--method", "bl1", "--out", "taken/runs"], ["cannot write", "taken/runs"]),
            (["mnist", "--method", "bl1", "--epochs", "3"], ["--epochs"]),
            (["mnist"], ["--method"]),
            ([], ["experiment"]),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    @pytest.mark.usefixtures("digits")
    def test_bad_input_gets_one_line(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: list[str]
    ) -> None:
        (tmp_path / "taken").write_text("a file")
        assert_refused(capsys, ["train", *arguments], *words)
        assert os.listdir(tmp_path) == ["taken"]

    @pytest.mark.usefixtures("digits")
    def test_writes_a_record_and_tells_its_result(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, trained: Trained
    ) -> None:
        arguments = ["train", "mnist", "--method", "bl1", "--profile", "smoke", "--seed", "2", "--alpha", "0.25"]
        assert main(arguments) == 0
        out = capsys.readouterr().out
        record = read(Path("build/runs/mnist/smoke/bl1-a0.25-s2.json"))
        assert out == (
            f"{record.path}: accuracy {record.accuracy:.2f}%, mean slice density {record.mean_density:.2f}%\n"
        )
        assert (record.config.seed, record.config.alpha) == (2, 0.25)

    @pytest.mark.usefixtures("digits")
    def test_writes_where_it_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["train", "mnist", "--method", "quantized", "--profile", "smoke", "--input-scaling", "normalized"]
        assert main([*arguments, "--out", "here"]) == 0
        assert read(Path("here/quantized-normalized-s0.json")).config.method is Method.QUANTIZED
        assert not Path("build").exists()

    def test_interruption_ends_with_status_130_and_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(train: bool) -> None:
            raise KeyboardInterrupt

        monkeypatch.setitem(DATA_SETS, "mnist", interrupted)
        assert main(["train", "mnist", "--method", "bl1", "--profile", "smoke"]) == 130
        assert capsys.readouterr().err.splitlines() == [
            "bitslice: interrupted; the same command goes on from the last checkpoint"
        ]


class TestFetch:
    @pytest.mark.usefixtures("digits")
    def test_tells_what_it_has_verified(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fetch", "mnist"]) == 0
        assert capsys.readouterr().out == "mnist: 600 training images, verified\n"

    def test_unknown_data_set_gets_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert_refused(capsys, ["fetch", "svhn"], "unknown data set 'svhn'", "mnist")


class TestResults:
    def test_json_lists_every_record_as_one_object_a_line(
        self, capsys: pytest.CaptureFixture[str], trained: Trained
    ) -> None:
        assert main(["results", str(trained.folder), "--json"]) == 0
        listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [entry["method"] for entry in listed] == ["bl0", "bl1", "column", "l1", "pruned", "quantized"]
        for entry in listed:
            record = trained.records[Method(entry["method"])]
            assert entry["experiment"] == "mnist"
            assert entry["network"] == "mlp"
            assert entry["profile"] == "smoke"
            assert entry["seed"] == 0
            assert entry["alpha"] == {"bl0": 32.0, "bl1": 0.5, "column": 5, "l1": 10.0}.get(entry["method"])
            assert entry["accuracy"] == record.accuracy
            assert entry["density"] == record.density
            assert len(entry["density"]) == 4
            assert entry["mean_density"] == record.mean_density
            assert Path(entry["path"]) == record.path

    def test_table_has_one_line_a_record(self, capsys: pytest.CaptureFixture[str], trained: Trained) -> None:
        assert main(["results", str(trained.folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 6
        assert "bl1-s0.json" in lines[1]
        assert f"{trained.records[Method.BL1].accuracy:.2f}%" in lines[1]

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_reader_that_leaves_early_is_no_error(
        self, trained: Trained, monkeypatch: pytest.MonkeyPatch, unbuffered: str
    ) -> None:
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
        command = [sys.executable, "-m", "bitslice", "results", str(trained.folder)]
        listing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert listing.stdout is not None
        listing.stdout.close()
        _, errors = listing.communicate()
        assert (listing.returncode, errors) == (0, b"")

    def test_released_records_are_the_default_from_any_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["results", "--json"]) == 0
        paths = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
        assert str(CHECKOUT / "results/mnist/bl1-s0.json") in paths

    def test_records_here_come_before_those_of_the_checkout(
        self, capsys: pytest.CaptureFixture[str], trained: Trained
    ) -> None:
        Path("results").symlink_to(trained.folder)
        assert main(["results"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 6

    def test_without_released_records_one_line_says_where_they_were_looked_for(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(project, "CHECKOUT", tmp_path / "site-packages")
        assert_refused(capsys, ["results"], f"no records below results (seen from {tmp_path})")

    def test_missing_folder_gets_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert_refused(capsys, ["results", "nowhere", "--json"], "no records below nowhere")

    def test_damaged_record_gets_one_line(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "bl1-s0.json").write_text("{")
        (tmp_path / "bl1-s0.npz").write_bytes(b"")
        assert_refused(capsys, ["results", "."], "bl1-s0.json is not a record")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["results", "a", "b"], ["train", "--help-me"]])
def test_unknown_commands_and_options_get_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert_refused(capsys, arguments, "--help")


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for command in ("fetch", "train", "results", "provenance", "crossbar", "zoo", "notebook", "doctor"):
        assert re.search(rf"^    {command}\s", out, flags=re.MULTILINE)


def test_module_runs_as_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bitslice", "results", "nowhere"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("bitslice", run_name="__main__")
    assert end.value.code == 2
    assert "no records below nowhere" in capsys.readouterr().err


def imported_by(*arguments: str) -> str:
    """What a fresh interpreter imports (its own account) while it does what ``arguments`` ask."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize("arguments", [["-c", "import bitslice"], ["-m", "bitslice", "--help"]])
def test_package_and_help_do_not_wait_for_torch(arguments: list[str]) -> None:
    imported = imported_by(*arguments)
    assert "bitslice" in imported
    for heavy in ("torch", "numpy", "matplotlib"):
        assert f" {heavy}\n" not in imported


def test_a_released_record_of_the_checkout_is_never_overwritten_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "CHECKOUT", tmp_path / "checkout")
    record = tmp_path / "checkout/results/mnist/bl1-s0.json"
    record.parent.mkdir(parents=True)
    record.write_text("released")
    assert_refused(capsys, ["train", "mnist", "--method", "bl1", "--out", str(record.parent)], "is a released record")
    assert record.read_text() == "released"


def test_a_released_record_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "results" / "mnist" / "bl1-s0.json"
    record.parent.mkdir(parents=True)
    record.write_text("released")
    assert main(["train", "mnist", "--method", "bl1", "--out", "results/mnist"]) == 2
    assert "is a released record" in capsys.readouterr().err
    assert record.read_text() == "released"
