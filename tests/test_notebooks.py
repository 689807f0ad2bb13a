"""Notebooks: clean sources, typed parameters, and a runner that refuses what does not fit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from operator import ne
from pathlib import Path

import nbformat
import papermill
import pytest

from bitslice.book import notebooks
from bitslice.book.sources import PACKAGE
from bitslice.cli import main, parser
from bitslice.errors import BitsliceError
from bitslice.lab import project

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


SHARED = {"adc_bits", "cell_bits", "columns", "dac_bits", "experiment", "images", "layer", "live", "profile"}
SHARED |= {"other", "record", "reports", "results", "rows", "run"}
"""Parameters that several notebooks have. One file sets them for a whole book, so a name means one thing everywhere."""


def test_a_name_that_notebooks_share_means_the_same_to_each() -> None:
    known = {each.name: each.parameters for each in notebooks.listed()}
    names = [name for parameters in known.values() for name in parameters]
    assert {name for name in names if names.count(name) > 1} == SHARED
    for name in SHARED - {"adc_bits", "images"}:  # as many bits, and as many images, as a page has time for
        defaults = {parameters[name]["default"] for parameters in known.values() if name in parameters}
        assert len(defaults) == 1 or name in {"experiment", "live", "other"}, name


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


@pytest.mark.parametrize(
    "value", ["-1", "-.5", "-2.", "-1e-3", "-1.5E+2", "-.5e1", "-1_0", "-inf", "-Infinity", "-nan"]
)
def test_negative_numbers_are_values_in_any_notation(value: str) -> None:
    options = parser().parse_args(["notebook", "adc", "-p", "x", value, "-p", "y", "2"])
    assert options.parameters == [["x", value], ["y", "2"]]
    assert isinstance(notebooks.parse("x", value, "float"), float)


@pytest.mark.parametrize("value", ["-e", "-1x", "-", "--x", "-infinite"])
def test_words_with_a_dash_are_no_negative_numbers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "adc", "-p", "rows", value]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_booleans_are_words() -> None:
    assert notebooks.parse("x", "True", "bool") is True
    with pytest.raises(BitsliceError, match="type bool"):
        notebooks.parse("x", "1", "bool")


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one small notebook, ``double``; the working directory. Temporary files go to ``scratch`` there."""
    cells = [
        nbformat.v4.new_code_cell("x: float = 1.0  # what to double", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(2 * x)\nassert x < 100, 'x is too large'"),
        nbformat.v4.new_code_cell(
            "import os, pathlib, time\n"
            "print(os.getcwd(), os.environ.get('BITSLICE_FIGURES'), os.environ.get('BITSLICE_DATA'))\n"
            "if x < 0:\n    os._exit(1)"
        ),
        nbformat.v4.new_code_cell("if x == 0:\n    pathlib.Path('begun').touch()\n    time.sleep(60)"),
    ]
    book = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    folder = tmp_path_factory.mktemp("p")  # short, for sockets
    for name in ("notebooks", "scratch"):
        (folder / name).mkdir()
    (folder / "pyproject.toml").touch()
    nbformat.write(book, folder / "notebooks/double.ipynb")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(folder / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def left_behind(folder: Path) -> set[str]:
    """What a notebook left in a project beside its own output."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return found - {"notebooks/double.ipynb", "pyproject.toml", "begun"} | {
        path.name for path in (folder / "scratch").iterdir()
    }


def bitslice(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "bitslice", *arguments], stderr=subprocess.PIPE, text=True)


def test_a_notebook_runs_with_other_parameters(small: Path) -> None:
    (output,) = notebooks.run("double", {"x": "21"}, Path("out/double.ipynb"))
    cells = nbformat.read(output, as_version=4).cells
    assert cells[2].outputs[0].text == "42.0\n"
    assert "hide-input" in cells[0].metadata.tags
    assert "remove-input" in cells[1].metadata.tags
    assert left_behind(small) == {"out/double.ipynb"}


def test_a_notebook_whose_page_cannot_be_built_is_kept(small: Path) -> None:
    (small / "book").mkdir()
    (small / "_config.yml").write_text("title: [")
    with pytest.raises(BitsliceError, match="the page of double could not be built"):
        notebooks.run("double", {"x": "21"}, Path("out/double.ipynb"))
    assert nbformat.read("out/double.ipynb", as_version=4).cells[2].outputs[0].text == "42.0\n"


def test_a_notebook_of_the_checkout_runs_from_any_folder_and_writes_there(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "CHECKOUT", small)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()  # anybody has such a folder
    monkeypatch.delenv("BITSLICE_FIGURES", raising=False)
    monkeypatch.setenv("BITSLICE_DATA", "images")
    (output,) = notebooks.run("double", {"x": "1"})
    assert output == Path("build/notebooks/double.ipynb")
    text = "".join(nbformat.read(output, as_version=4).cells[3].outputs[0].text).split()
    assert text == [str(small), str(tmp_path / "build/notebooks/figures"), str(tmp_path / "images")]
    assert left_behind(small) == set()
    assert (os.environ.get("BITSLICE_FIGURES"), os.environ["BITSLICE_DATA"]) == (None, "images")


def test_without_a_project_one_line_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert main(["notebook", "adc"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"neither {tmp_path} nor {tmp_path}/site-packages" in error
    assert "pyproject.toml" in error


def test_a_failing_cell_is_one_line_and_leaves_no_file(small: Path) -> None:
    with pytest.raises(BitsliceError, match="notebook double, cell 3: AssertionError: x is too large"):
        notebooks.run("double", {"x": "1000"}, Path("out/double.ipynb"))
    assert left_behind(small) == set()


def test_a_kernel_that_dies_is_one_line_and_leaves_no_file(small: Path) -> None:
    with pytest.raises(BitsliceError, match="notebook double was ended: its kernel is gone"):
        notebooks.run("double", {"x": "-1"})
    assert left_behind(small) == set()


def test_notebooks_run_side_by_side(small: Path) -> None:
    runs = [bitslice("notebook", "double", "-p", "x", str(x), "--out", f"out/{x}.ipynb") for x in (1, 2, 3)]
    for run in runs:
        errors = run.communicate()[1]
        assert run.returncode == 0, errors
    for x in (1, 2, 3):
        assert nbformat.read(small / f"out/{x}.ipynb", as_version=4).cells[2].outputs[0].text == f"{2 * x}.0\n"
    assert left_behind(small) == {"out/1.ipynb", "out/2.ipynb", "out/3.ipynb"}


def test_a_notebook_that_is_ended_leaves_no_file(small: Path) -> None:
    run = bitslice("notebook", "double", "-p", "x", "0")
    while not Path("begun").exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.terminate()
    run.communicate()
    assert run.returncode == 128 + signal.SIGTERM
    assert left_behind(small) == set()


def test_sockets_have_short_paths_wherever_temporary_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 25)))
    with notebooks.local_kernel() as settings:
        assert len(f"{settings.AsyncKernelManager.ip}-12") <= notebooks.SOCKET_PATH
        assert Path(settings.AsyncKernelManager.ip).parent.is_dir()
    assert not Path(settings.AsyncKernelManager.ip).parent.exists()
