"""From a copy of the project to a browsable book, at smoke size; then incremental runs and a real browser."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bitslice.book.sources import PACKAGE
from bitslice.lab.data import DATA_SETS, data_folder

ROOT = PACKAGE.parent
WIDE, LONGEST, OPENING = 1360, 5000, 1800
"""Pixels: a screen's width, at it the height of no page exceeded, and that of the opening page: two screens of 900."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = (
    "index",
    "claims",
    "slices",
    "regularizer",
    "mnist",
    "vgg11",
    "resnet20",
    "layers",
    "adc",
    "crossbar",
    "adapt",
    "nonideal",
    "costs",
    "deviations",
    "related",
    "use",
    "own",
    "api",
    "glossary",
    "status",
    "bibliography",
)


def snakemake(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BITSLICE_DATA": "data",
    }
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--config", "profile=smoke"]
    return subprocess.run(
        [*command, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def would_run(project: Path, target: str = "book") -> set[str]:
    """Rules that a dry run lists."""
    done = snakemake(project, "--dry-run", "--quiet", "rules", "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, flags=re.MULTILINE)) - {"total", "book"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its book built at smoke size."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")
    for name in ("bitslice", "notebooks", "book", "profiles", "results", "simulations"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    DATA_SETS["mnist"](True)
    (folder / "data").symlink_to(data_folder().resolve())
    done = snakemake(folder, "--", "book")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def html(project: Path) -> Path:
    return project / "build/book/_build/html"


def touch(path: Path) -> None:
    """An edit that changes the file's content as well as its time."""
    path.write_text(path.read_text() + "\n# edited\n")


def test_a_second_run_does_nothing(project: Path) -> None:
    assert would_run(project) == set()


def test_every_figure_comes_in_three_formats(project: Path) -> None:
    files = {path.suffix: set() for path in (project / "figures").iterdir()}
    for path in (project / "figures").iterdir():
        files[path.suffix].add(path.stem)
    assert files[".svg"] == files[".pdf"] == files[".png"]
    assert len(files[".svg"]) >= 15


def test_live_runs_never_touch_the_released_records(project: Path) -> None:
    for path in (ROOT / "results").rglob("*.*"):
        assert (project / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_editing_a_plot_runs_the_notebooks_that_use_it_and_no_training(project: Path) -> None:
    path = project / "bitslice/book/plots/regularizer.py"
    before, times = path.read_text(), path.stat()
    touch(path)
    assert would_run(project) == {"notebook_regularizer", "html"}
    path.write_text(before)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_editing_the_quantizer_retrains(project: Path) -> None:
    path = project / "bitslice/quantizer.py"
    before, times = path.read_text(), path.stat()
    touch(path)
    assert {"pretrain", "finetune", "notebook_mnist", "html"} <= would_run(project)
    path.write_text(before)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_slurm_profile_plans_the_same_graph(project: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--profile",
        "profiles/slurm",
        "--config",
        "profile=paper",
        "--dry-run",
        "--",
        "reproduce",
    ]
    done = subprocess.run(
        command, cwd=project, env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^finetune +118$", done.stdout, flags=re.MULTILINE)  # 100 and 18 that are adapted to ADCs


class Links(HTMLParser):
    """Collects what a page links to and what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in {"href", "src"}:
                self.found.add(value)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_book_leads_somewhere(html: Path, page: str) -> None:
    links = Links()
    links.feed((html / f"{page}.html").read_text())
    inside = [urlsplit(link) for link in links.found if not urlsplit(link).scheme]
    missing = [link.path for link in inside if link.path and not (html / unquote(link.path)).exists()]
    assert not missing
    assert len(inside) > 10


class Terms(HTMLParser):
    """Collects the links to the glossary, with the previews they carry."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "term" in (given.get("class") or "").split():
            self.found.append((given["href"] or "", given["data-definition"] or ""))


def test_a_term_is_linked_where_it_first_stands_on_a_page_with_its_definition(html: Path) -> None:
    linked = {page: Terms() for page in PAGES}
    for page, terms in linked.items():
        terms.feed((html / f"{page}.html").read_text())
        addresses = [address for address, _ in terms.found]
        assert len(addresses) == len(set(addresses))
        assert all(definition for _, definition in terms.found)
    assert not linked["glossary"].found
    opening = dict(linked["index"].found)
    assert opening["glossary.html#term-bitline"].startswith("A column of a crossbar")
    ids = re.findall(r'id="(term-[\w-]+)"', (html / "glossary.html").read_text())
    assert {address for terms in linked.values() for address, _ in terms.found} <= {f"glossary.html#{i}" for i in ids}
    assert len({address for terms in linked.values() for address, _ in terms.found}) > 0.6 * len(ids)


def test_every_cell_of_the_opening_matrix_has_a_verdict_and_its_evidence(html: Path) -> None:
    page = (html / "index.html").read_text()
    cells = re.findall(r'<td class="[^"]*\b(?:holds|partly|fails)\b[^"]*">(.*?)</td>', page)
    assert len(cells) >= 6 * 2
    assert all(re.search(r'<a class="[^"]*" href="[\w-]+\.html', cell) for cell in cells)


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


REWRITTEN = {"adapt"}
"""Pages that are still longer."""
CUT_OFF = """
[...document.querySelectorAll('.bd-content table')]
  .filter((table) => table.scrollWidth > table.clientWidth + 1 && !table.classList.contains('scrolls'))
  .map((table) => table.innerText.slice(0, 40))
"""
"""Tables wider than their place that do not show it."""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_book_in_a_browser(address: str) -> None:
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    problems: list[str] = []
    figures = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        for width, theme in ((WIDE, "light"), (WIDE, "dark"), (390, "light")):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
            page = context.new_page()
            page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
            page.on("pageerror", lambda error: problems.append(f"script: {error}"))
            page.on(
                "request", lambda r: None if r.url.startswith((address, "data:")) else problems.append(f"host: {r.url}")
            )
            page.on("response", lambda r: problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
            for name in PAGES:
                page.goto(f"{address}/{name}.html", wait_until="networkidle")
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    problems.append(f"{name} is {wide} pixels wide on a screen of {width}")
                tall = page.evaluate("document.documentElement.scrollHeight")
                if width == WIDE and tall > (OPENING if name == "index" else LONGEST) and name not in REWRITTEN:
                    problems.append(f"{name} is {tall} pixels long")
                page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
                page.wait_for_timeout(200)  # until the script has seen it
                for figure in page.locator("figure.plot").all():
                    figures += 1
                    drawn = [svg for svg in figure.locator("svg").all() if svg.is_visible()]
                    box = drawn[0].bounding_box() if len(drawn) == 1 else None
                    if box is None or box["width"] < 250 or box["height"] < 80:
                        problems.append(f"{name} at {width}: a figure is not visible: {box}")
                    elif box["x"] < 0 or box["x"] + box["width"] > width:
                        problems.append(f"{name} at {width}: a figure is cut off: {box}")
                cut = page.evaluate(CUT_OFF)
                if cut:
                    problems.append(f"{name} at {width}: cut off without a sign of it: {cut}")
                if page.locator(".math math").count() == 0 and name in {"slices", "regularizer"}:
                    problems.append(f"{name} shows no formula")
            if width == WIDE:
                page.goto(f"{address}/api.html#bitslice.charge_slices", wait_until="networkidle")
                if not page.locator("[id='bitslice.charge_slices']").is_visible():
                    problems.append("a link does not unfold its target")
                page.goto(f"{address}/index.html", wait_until="networkidle")
                page.locator("a.term").first.focus()
                page.keyboard.press("Shift+Tab")
                page.keyboard.press("Tab")
                shown = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
                if "cell" not in shown:
                    problems.append(f"a term shows no preview: {shown}")
            context.close()
        browser.close()
    assert not problems
    assert figures >= 3 * 12
