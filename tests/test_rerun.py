"""Rerunning: what is listed, one file for a whole book, links that lead to files, a page that needs no other file."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from bitslice.book import notebooks, single_page
from bitslice.book.sources import PACKAGE
from bitslice.cli import main
from bitslice.errors import BitsliceError

ROOT = PACKAGE.parent


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_notebook_is_listed_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "--list"]) == 0
    shown = capsys.readouterr().out
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert re.search(rf"^{path.stem} \(.*\b\d+ s as released\)$", shown, flags=re.MULTILINE)
    assert re.search(r"^  rows +int +128 +wordlines of one array$", shown, flags=re.MULTILINE)


def test_the_last_run_here_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert {each.seconds for each in notebooks.listed()} == {None}
    Path("build/notebooks").mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(metadata={"papermill": {"duration": 12.5}}), "build/notebooks/adc.ipynb")
    assert {each.name: each.seconds for each in notebooks.listed()}["adc"] == 12.5


@pytest.mark.parametrize("text", ["{", "[]", '{"seconds": {"adc": null}}'])
def test_damaged_times_are_one_clear_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "times.json").write_text(text)
    monkeypatch.setattr(notebooks, "TIMES", tmp_path / "times.json")
    with pytest.raises(BitsliceError, match=r"times\.json is not a record of notebooks' times: "):
        notebooks.listed()


def test_without_a_name_one_line_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook"]) == 2
    assert "--list" in capsys.readouterr().err


def test_one_file_sets_every_notebook_that_has_a_parameter(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("rows: 64\nadc:\n  images: 50\n  rows: 32\nmnist: {alpha: 1}\n")
    found = notebooks.from_file(path)
    assert found["adc"] == {"rows": "32", "images": "50"}  # its own counts
    assert found["crossbar"] == {"rows": "64"}
    assert found["mnist"] == {"alpha": "1"}
    assert "slices" not in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("row: 64", "'row' is neither a notebook nor a parameter"),
        ("adc: {row: 64}", "notebook adc has no parameter 'row'"),
        ("rows: many", "takes a value of type int"),
        ("adc: 3", "'adc' is neither"),
        ("- 3", "should hold parameters by name"),
        ("rows: [", "mine.yml"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(BitsliceError, match=re.escape(told)):
        notebooks.from_file(path)


def test_the_file_on_the_page_rerun_is_one(tmp_path: Path) -> None:
    text = (ROOT / "book/rerun.md").read_text()
    path = tmp_path / "mine.yml"
    path.write_text(re.search(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[1])  # type: ignore[index]
    found = notebooks.from_file(path)
    for values in found.values():
        if "record" in values:
            assert (ROOT / values["record"]).is_file()
    for command in re.findall(r"^bitslice notebook (\w+) (-p .*)$", text, flags=re.MULTILINE):
        notebooks.parameters(command[0], dict(re.findall(r"-p (\S+) (\S+)", command[1])))


def executed(folder: Path) -> Path:
    """A notebook with a figure, as the book has it, and links to pages."""
    html = (
        '<figure class="plot" id="a"><div class="canvas"><svg viewBox="0 0 1 1"></svg></div><figcaption><span '
        'class="caption">Seen.</span><div class="sources"><a href="figures/a.svg">SVG</a> '
        '<a href="results/mnist/bl1-s0.json">bl1</a> <a href="notebooks/adc.ipynb">adc</a></div></figcaption></figure>'
    )
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\n[costs](costs.ipynb#x), [use](use.md), [there](https://a.org/b.md)"),
        nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data={"text/html": html})]),
    ]
    (folder / "figures").mkdir(parents=True)
    (folder / "figures/a.svg").touch()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "mine.ipynb")
    return folder / "mine.ipynb"


def test_links_of_a_rerun_notebook_lead_to_files(tmp_path: Path) -> None:
    path = executed(tmp_path)
    single_page.relink(path, path, tmp_path / "figures")
    notebook = nbformat.read(path, as_version=4)
    text = notebook.cells[0].source + notebook.cells[1].outputs[0].data["text/html"]
    links = re.findall(r'\]\(([^)]+)\)|href="([^"]+)"', text)
    paths = [either or other for either, other in links]
    assert len(paths) == 6
    for link in paths:
        assert link == "https://a.org/b.md" or (tmp_path / link.partition("#")[0]).is_file(), link


def test_a_rerun_notebook_becomes_one_page_that_needs_no_other_file(tmp_path: Path) -> None:
    path = executed(tmp_path)
    html = single_page.single_page(path.read_text(), path, tmp_path / "figures")
    assert not re.search(r'(?:src|href)="_static', html)
    assert "Fig. 1" in html
    assert "figure.plot figcaption" in html  # the book's style
    assert "figures that can be touched" in html.lower()  # and script
    for link in re.findall(r'href="([^"#]+)"', html):
        assert "://" in link or (tmp_path / link).is_file(), link


def extension() -> SimpleNamespace:
    spec = importlib.util.spec_from_file_location("bitslice_book", ROOT / "book/_ext/bitslice_book.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module  # type: ignore[return-value]


def test_launch_buttons_wait_for_a_public_address() -> None:
    for address, buttons in (("", False), ("https://example.org/bitslice", True)):
        config = SimpleNamespace(public_address=address, html_theme_options={})
        extension().launch_buttons(None, config)
        assert ("launch_buttons" in config.html_theme_options) is buttons
        assert config.html_theme_options.get("repository_url", "") == address
