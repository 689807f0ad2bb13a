"""What is released is computed anew: what is right holds, what was changed is told, and one table ends it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitslice.book import tables, verified
from bitslice.book.sources import PACKAGE
from bitslice.book.statements import STATEMENTS, Statement
from bitslice.cli import main
from bitslice.errors import BitsliceError
from bitslice.lab import report
from bitslice.lab.verification import Check, Verified, read, verify
from bitslice.lab.words import Method
from tests.conftest import Trained

ROOT = PACKAGE.parent


@pytest.fixture
def released(trained: Trained, digits: None, tmp_path: Path) -> Path:
    """A record with its weights, that a test may change."""
    path = trained.records[Method.BL1].path
    for file in (path, path.with_suffix(".npz")):
        shutil.copy(file, tmp_path)
    return tmp_path / path.name


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def simulate(record: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Path:
    """A report on a record, as the engine writes it."""
    capsys.readouterr()
    assert main(["crossbar", words[0], str(record), "--images", "100", "--json", *words[1:]]) == 0
    path = record.with_name("simulated.json")
    path.write_text(capsys.readouterr().out)
    return path


class TestRecords:
    def test_what_is_right_holds_to_the_digit(self, released: Path) -> None:
        found = verify(released)
        assert found.holds
        assert [check.apart for check in found.checks] == [0.0] * 4
        assert found.memory > 2**20

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda r: r["final"].update(accuracy=r["final"]["accuracy"] - 3), "accuracies differ by 3, more than 2.5"),
            (lambda r: r["final"]["density"].reverse(), "densities differ"),
            (lambda r: r["final"]["adc"]["B1"].update(bound=1), "largest sums for any input differ"),
            (lambda r: r["weights"].update(sha256="0" * 64), "its SHA-256 differs"),
            (lambda r: r.pop("final"), "is not a record"),
        ],
    )
    def test_what_was_changed_is_told(
        self, released: Path, change: Callable[[dict[str, Any]], None], told: str
    ) -> None:
        edit(released, change)
        found = verify(released)
        assert not found.holds
        assert told in "\n".join(found.differences())

    def test_without_weights_there_is_nothing_to_check(self, released: Path) -> None:
        edit(released, lambda r: r.update(weights=None))
        assert verify(released).checks == ()


class TestSimulations:
    WORDS = ("report", "--adc-bits", "3,3,3,1", "--adc-bits", "4,4,4,4", "--observed-images", "10")

    def test_a_report_holds_and_a_changed_one_does_not(
        self, released: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = simulate(released, capsys, *self.WORDS, "--row-order", "spread", "--headroom", "2")
        assert [len(check.expected) for check in verify(path).checks][:3] == [1, 1, 4]  # the claimed ADCs alone
        found = verify(path, full=True)
        assert (found.holds, [check.apart for check in found.checks]) == (True, [0.0] * 7)
        assert [len(check.expected) for check in found.checks][:3] == [1, 2, 8]
        edit(path, lambda r: r["settings"][0].update(energy=2 * r["settings"][0]["energy"]))
        assert "energies and latencies differ by 0.5" in verify(path).differences()[0]

    def test_allocated_adcs_hold_on_training_images_too(
        self, released: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("--adc-mean", "2.5,1.5", "--adc-levels", "4", "--judge", "40", "--rows", "16")
        path = simulate(released, capsys, "report", "--observed-images", "10", *words)
        written = report.read(path)
        assert [setting.asked for setting in written.settings] == [2.5, 1.5]
        assert (written.levels_images, written.judging_images) == (4, 40)
        assert None not in (written.digital_judged, written.settings[0].judged)
        found = verify(path, full=True)
        assert (found.holds, [check.apart for check in found.checks]) == (True, [0.0] * 8)
        (judged,) = (check for check in found.checks if check.quantity == "accuracies on training images")
        assert judged.expected == tuple(setting.judged for setting in written.settings)
        assert judged.tolerance == pytest.approx(100 * 5 / 40)
        edit(path, lambda r: r["settings"].append(dict(r["settings"][-1], judged=r["settings"][-1]["judged"] + 13)))
        assert verify(path).differences() == [f"{path}: accuracies on training images differ by 13, more than 12.5"]

    def test_cells_that_are_not_ideal(self, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = simulate(released, capsys, "tolerance", "--seeds", "1")
        found = verify(path)
        assert found.holds
        assert [len(check.expected) for check in found.checks] == [6]  # ideal, and the strongest of every kind
        edit(path, lambda r: r["measured"][-1].update(accuracies=[0.0]))
        assert not verify(path).holds

    def test_a_report_on_what_is_not_there_is_told(self, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = simulate(released, capsys, *self.WORDS)
        edit(path, lambda r: r.update(network="nowhere.json"))
        assert verify(path).differences() == [f"{path}: no record at nowhere.json"]


def test_numbers_that_are_missing_are_infinitely_apart() -> None:
    assert not Check("sums", (1.0, 2.0), (1.0,), 1e9).holds
    assert not Check("sums", (1.0,), None).holds
    assert Check("sums", (), ()).holds


class TestCommand:
    def test_one_file(self, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", str(released)]) == 0
        assert capsys.readouterr().out == f"{released}: 4 checks hold\n"
        edit(released, lambda r: r["final"]["density"].reverse())
        assert main(["verify", str(released)]) == 1
        out = released.with_name("found.json")
        assert main(["verify", str(released), "--out", str(out)]) == 0
        assert [each.holds for each in read(out)] == [False]

    @pytest.fixture
    def parts(self, released: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of the engine's results with that of one record."""
        monkeypatch.setattr(verified, "PARTS", released.parent / "parts")
        monkeypatch.setattr(verified, "_checksums", lambda: iter(()))
        found = Verified("results/mnist/bl1-s0.json", (Check("accuracies", (98.0,), (98.0,), 0.05),), None, 60.0, 2**29)
        path = released.parent / "parts/sample/results-mnist-bl1.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"files": [found.to_dict()]}))
        return path

    def test_the_table_ends_with_what_holds(
        self, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", "--out", str(tmp_path / "table.json")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == f"All {1 + len(STATEMENTS)} claims hold"
        row = verified.read_table(tmp_path / "table.json").rows[-1]
        assert (row.minutes, row.memory, row.holds) == (1.0, 2**29, True)
        cells = tables.claims_verified(verified.read_table(tmp_path / "table.json"))[-1]
        assert (cells["Minutes"], cells["Memory (MB)"], cells["Command"]) == (
            "1.0",
            "537",
            "`bitslice verify results/mnist/*.json`",
        )
        assert row.found == "1 of 1 checks to the digit; accuracies differ by 0 at most"

    def test_any_difference_fails(self, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        edit(parts, lambda r: r["files"][0]["checks"][0].update(found=[97.0]))
        assert main(["verify", "--out", str(tmp_path / "table.json")]) == 1
        *_, difference, last = capsys.readouterr().out.splitlines()
        assert difference == "results/mnist/bl1-s0.json: accuracies differ by 1, more than 0.05"
        assert last == f"1 of {1 + len(STATEMENTS)} claims DIFFER"

    def test_prose_that_is_gone_fails(
        self, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gone = Statement("README.md", "no such words", (1.0,), lambda: [1.0])
        monkeypatch.setattr(verified, "STATEMENTS", (gone,))
        assert main(["verify", "--out", str(tmp_path / "table.json")]) == 1
        assert "README.md does not say any more: no such words" in capsys.readouterr().out

    def test_before_anything_was_computed_it_says_what_to_do(self, parts: Path) -> None:
        with pytest.raises(BitsliceError, match="make verify FULL=1"):
            verified.gather(full=True)


def test_checksums_of_everything_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    weights, commands = list(verified._checksums())[-2:]
    assert weights.holds
    assert int(weights.found) >= 130
    assert commands.holds


def test_data_that_is_not_there_or_damaged_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BITSLICE_DATA", str(tmp_path))
    row = next(verified._checksums())
    assert (row.holds, row.found, row.expected) == (False, "0", "4")


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.words)
def test_prose_says_what_the_records_say(statement: Statement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert statement.stands()
    assert statement.check().holds
    assert not replace(statement, expected=tuple(2 * value + 1 for value in statement.expected)).check().holds
