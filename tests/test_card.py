"""The card of the released networks and the citation say what the records and the project say."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bitslice.book.card import card
from bitslice.book.sources import PACKAGE
from bitslice.cli import main
from bitslice.lab.adaptation import LEVELS, Adaptation
from bitslice.lab.experiments import adapted
from bitslice.lab.words import Method
from tests.test_analysis import record

ROOT = PACKAGE.parent


def test_the_card_beside_the_records_is_the_one_that_the_command_makes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["results", "--card"]) == 0
    assert capsys.readouterr().out == (ROOT / "results/README.md").read_text()


def test_runs_that_differ_in_their_seed_share_a_line() -> None:
    runs = [record(Method.BL1, seed, None, 97.0 + seed, 4.0) for seed in (0, 1)]
    through = replace(
        runs[0],
        config=adapted(runs[0].config, Adaptation(headroom=2)),
        final={**runs[0].final, "adc_accuracy": 96.5},
    )
    found = replace(through, config=adapted(runs[0].config, LEVELS))
    assert "3,3,3,1 bits, spread rows, levels found by layer |" in card([found])
    allocated = replace(through, config=adapted(runs[0].config, Adaptation(None, 1.5, adc_levels=25)))
    assert "ADCs of 1.5 bits on average, spread rows, levels found by layer |" in card([allocated])
    lines = card([*runs, through, record(Method.PRUNED, 0, None, 98.0, 9.0)]).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert rows[0][:4] == ["`bl1`", "Bit-slice L1, alpha 0.5", "100+50 epochs (`paper`)", "2"]
    assert rows[0][4:] == ["97.50 ± 0.71", "4.00 ± 0.00", "–"]
    assert rows[1][2].endswith("the last through ADCs of 3,3,3,1 bits, spread rows, 2 bits of headroom")
    assert rows[1][-1] == "96.50"
    assert rows[2][0] == "`pruned`"
    assert "4 runs of 1 networks" in lines[2]


def test_a_float_network_has_no_density() -> None:
    lone = replace(record(Method.FLOAT, 0, None, 98.5, 0), final={"accuracy": 98.5})
    assert "| 98.50 | – | – |" in card([lone])


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["version"] == project["version"]
    assert found["license"] == project["license"]
    assert {"abstract", "keywords", "identifiers"} <= found.keys()
    paper = found["preferred-citation"]
    assert paper["title"] in Path(ROOT / "README.md").read_text().replace("\n", " ")
    assert paper["identifiers"][0]["value"] == found["identifiers"][0]["value"] == "arXiv:1909.08496"
