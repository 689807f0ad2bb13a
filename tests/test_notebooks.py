"""Notebooks: clean sources, typed parameters, and a runner that refuses what does not fit."""

import json
from operator import ne
from pathlib import Path

import nbformat
import papermill
import pytest

from bitslice.book import notebooks
from bitslice.book.sources import PACKAGE
from bitslice.cli import main
from bitslice.errors import BitsliceError

ROOT = PACKAGE.parent
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_carry_no_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_parameter_is_typed_and_explained(path: Path) -> None:
    found = papermill.inspect_notebook(str(path))
    assert found
    for parameter in found.values():
        assert parameter["inferred_type_name"] in {"int", "float", "str", "bool"}
        assert len(parameter["help"]) > 10


def test_pages_on_one_data_set_differ_in_what_they_say_of_the_network_alone() -> None:
    resnet20, vgg11 = (json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text()) for name in ("resnet20", "vgg11"))
    differing = [place for place, pair in enumerate(zip(resnet20["cells"], vgg11["cells"], strict=True)) if ne(*pair)]
    assert differing == [0, 1]  # introduction and parameters


def test_an_unknown_notebook_is_refused_naming_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "nothing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(path.stem in error for path in SOURCES)


def test_an_unknown_parameter_is_refused_naming_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "adc", "-p", "row", "64"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "rows (int)" in error


@pytest.mark.parametrize(("name", "value"), [("rows", "many"), ("rows", "1.5"), ("images", "")])
def test_a_value_of_the_wrong_type_is_refused(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "adc", "-p", name, value]) == 2
    assert f"parameter {name} takes a value of type int" in capsys.readouterr().err


def test_booleans_are_words() -> None:
    assert notebooks.parse("x", "True", "bool") is True
    with pytest.raises(BitsliceError, match="type bool"):
        notebooks.parse("x", "1", "bool")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small notebook, ``double``, that the runner takes for the project's."""
    cells = [
        nbformat.v4.new_code_cell("x: float = 1.0  # what to double", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(2 * x)\nassert x < 100, 'x is too large'"),
    ]
    book = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    nbformat.write(book, tmp_path / "double.ipynb")
    monkeypatch.setattr(notebooks, "SOURCES", tmp_path)
    return tmp_path


def test_a_notebook_runs_with_other_parameters(small: Path) -> None:
    output = notebooks.run("double", {"x": "21"}, small / "out" / "double.ipynb")
    cells = nbformat.read(output, as_version=4).cells
    assert cells[-1].outputs[0].text == "42.0\n"
    assert "hide-input" in cells[0].metadata.tags
    assert "remove-input" in cells[1].metadata.tags


def test_a_failing_cell_is_one_line_and_leaves_no_file(small: Path) -> None:
    with pytest.raises(BitsliceError, match="notebook double, cell 3: AssertionError: x is too large"):
        notebooks.run("double", {"x": "1000"}, small / "out" / "double.ipynb")
    assert not list((small / "out").iterdir())
