"""From a copy of the project to a browsable book, at smoke size; then incremental runs and a real browser."""

import contextlib
import functools
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch
from playwright.sync_api import Browser, Page

from bitslice.book.folders import FORMATS
from bitslice.book.sources import PACKAGE
from bitslice.crossbar import Adc, setting_name
from bitslice.crossbar.adc import from_json
from bitslice.lab.data import DATA_SETS, data_folder
from tests.browser import CHROMIUM, WIDER, axe, axe_findings, chromium, found_by_search, slide, told

ROOT = PACKAGE.parent
WIDE, LONGEST, OPENING = 1360, 5000, 1800
"""Pixels: a screen's width, at it the height of no page exceeded, and that of the opening page: two screens of 900."""
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
    "rerun",
    "own",
    "api",
    "glossary",
    "status",
    "bibliography",
)


def snakemake_command(
    project: Path, module: str, *arguments: str, config: str = ""
) -> tuple[list[str], dict[str, str]]:
    """A command for a copy of the project at smoke size, and its environment."""
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BITSLICE_DATA": "data",
    }
    command = [sys.executable, "-m", module, "--profile", "profiles/local", "--config", "profile=smoke"]
    return [*command, *config.split(), *arguments], environment


def snakemake(project: Path, *arguments: str, config: str = "") -> subprocess.CompletedProcess[str]:
    command, environment = snakemake_command(project, "snakemake", *arguments, config=config)
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def would_run(project: Path, target: str = "book", config: str = "") -> set[str]:
    """Rules that a dry run lists."""
    done = snakemake(project, "--dry-run", "--quiet", "rules", "--", target, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, flags=re.MULTILINE)) - {"total", "book"}


def copy(folder: Path) -> Path:
    """A copy of the project, with its data and nothing built."""
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")
    for name in ("bitslice", "notebooks", "book", "profiles", "results", "simulations"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    DATA_SETS["mnist"](True)
    (folder / "data").symlink_to(data_folder().resolve())
    return folder


def build(project: Path, kills: int, usual: float) -> float:
    """Build the book; gives the seconds that took.

    Args:
        project: a copy.
        kills: how often it is killed first, with all its jobs.
        usual: seconds within which that happens.
    """
    chance, started = random.Random(0), time.monotonic()
    for left in range(kills, -1, -1):
        command, environment = snakemake_command(project, "bitslice.book.engine", "--", "book")
        with tempfile.TemporaryFile("w+") as said:
            run = subprocess.Popen(
                command, cwd=project, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(chance.uniform(0.05, 1.0) * usual if left else None)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            said.seek(0)
            assert run.returncode in {0, -signal.SIGKILL}, said.read()
    return time.monotonic() - started


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its book built at smoke size, by an engine that was killed twice."""
    folder = copy(tmp_path_factory.mktemp("project"))
    build(folder, kills=2, usual=60)
    return folder


@pytest.fixture(scope="module")
def html(project: Path) -> Path:
    return project / "build/book/_build/html"


def touch(path: Path) -> None:
    """An edit that changes the file's content as well as its time."""
    path.write_text(path.read_text() + "\n# edited\n")


def test_a_second_run_does_nothing(project: Path) -> None:
    assert would_run(project) == set()


@pytest.mark.slow
def test_a_book_built_through_kills_is_the_book(tmp_path: Path) -> None:
    straight, killed = copy(tmp_path / "straight"), copy(tmp_path / "killed")
    seconds = build(straight, kills=0, usual=0)
    build(killed, kills=10, usual=seconds)
    names = [path.relative_to(straight) for path in straight.glob("figures/*")]
    names += [path.relative_to(straight) for path in straight.glob("build/runs/**/*.npz")]
    names += [Path(f"build/book/_build/html/{page}.html") for page in PAGES if page != "status"]  # which tells times
    assert len(names) > 80
    assert [str(name) for name in names if (straight / name).read_bytes() != (killed / name).read_bytes()] == []


def test_what_was_killed_left_nothing_behind(project: Path) -> None:
    assert not [path for folder in ("build", "figures") for path in (project / folder).rglob(".*.*.*")]


def test_every_figure_comes_in_every_format(project: Path) -> None:
    files: dict[str, set[str]] = {suffix: set() for suffix in FORMATS}
    for path in (project / "figures").iterdir():
        files[path.suffix[1:]].add(path.stem)
    assert all(names == files["svg"] for names in files.values())
    assert len(files["svg"]) >= 15
    assert all(len((project / f"figures/{name}.csv").read_text().splitlines()) > 1 for name in files["csv"])


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


def test_a_file_of_parameters_runs_the_notebooks_that_have_them_and_no_training(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("dac_bits: 2\nslices:\n  size: 12\n")
    again = would_run(project, config=f"parameters={path}")
    assert again == {"notebook_adc", "notebook_crossbar", "notebook_slices", "html"}


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
    assert re.search(r"^finetune +151$", done.stdout, flags=re.MULTILINE)  # 115 and 36 that are adapted to ADCs


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


CUT_OFF = """
[...document.querySelectorAll('.bd-content :is(table, .canvas)')]
  .filter((wide) => wide.scrollWidth > wide.clientWidth + 1 && !wide.classList.contains('scrolls'))
  .map((wide) => wide.textContent.slice(0, 40))
"""
"""Tables and figures wider than their place that do not show it."""

SCALE = """
(svg) => svg.viewBox.baseVal.width ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1
"""
"""Pixels of a point of a picture, whose letters have nine and more."""
CUT = "(svg) => !svg.closest('.scrolls') && svg.getBoundingClientRect().right > innerWidth"
"""Whether a picture reaches beyond the screen and does not scroll."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with chromium() as started:
        yield started


def test_the_book_in_a_browser(browser: Browser, address: str) -> None:
    problems: list[str] = []
    figures = 0
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
            page.goto(f"{address}/{name}.html", wait_until="load")
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                problems.append(f"{name} is {wide} pixels wide on a screen of {width}")
            tall = page.evaluate("document.documentElement.scrollHeight")
            if width == WIDE and tall > (OPENING if name == "index" else LONGEST):
                problems.append(f"{name} is {tall} pixels long")
            if width < WIDE:
                problems.extend(f"{name} on a phone: {wider} is wider" for wider in page.evaluate(WIDER))
            page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
            page.wait_for_timeout(200)  # until the script has seen it
            for figure in page.locator("figure.plot :is(.canvas, .stage) svg:visible").all():
                figures += 1
                box = figure.bounding_box()
                if box is None or box["width"] < 250 or box["height"] < 80:
                    problems.append(f"{name} at {width}: a figure is not visible: {box}")
                elif figure.evaluate(CUT):
                    problems.append(f"{name} at {width}: a figure is cut off: {box}")
                if figure.evaluate(SCALE) < 0.7:
                    problems.append(f"{name} at {width}: a figure has letters that cannot be read")
            cut = page.evaluate(CUT_OFF)
            if cut:
                problems.append(f"{name} at {width}: cut off without a sign of it: {cut}")
            if page.locator(".math math").count() == 0 and name in {"slices", "regularizer"}:
                problems.append(f"{name} shows no formula")
        if width == WIDE:
            page.goto(f"{address}/api.html#bitslice.charge_slices", wait_until="load")
            if not page.locator("[id='bitslice.charge_slices']").is_visible():
                problems.append("a link does not unfold its target")
            page.goto(f"{address}/index.html", wait_until="load")
            page.locator("a.term").first.focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
            shown = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
            if "cell" not in shown:
                problems.append(f"a term shows no preview: {shown}")
        context.close()
    assert not problems
    assert figures >= 3 * 12


def data_of(page: Page, figure: str) -> Any:
    """What a figure that can be touched is drawn from."""
    return json.loads(page.locator(f"#{figure} .touch script").inner_text())


def open_page(browser: Browser, address: str, name: str, **options: Any) -> Page:
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}).new_page()
    page.goto(f"{address}/{name}.html", wait_until="load")
    return page


def test_a_code_by_keyboard_and_mouse(browser: Browser, address: str) -> None:
    page = open_page(browser, address, "regularizer")
    assert "0.328 = 1/4 + 1/16 + 1/64" in told(page, "regularizer_pull")  # 228, as in slice_tables
    page.locator("#regularizer_pull .touch").get_by_label("code of |w|").fill("17")
    assert "stores 16 in its place" in told(page, "regularizer_pull")  # as in proximal_table
    slide(page, "regularizer_pull", "or drag", "ArrowLeft")
    assert page.locator("#regularizer_pull .cells").inner_text().split() == [
        "B3",
        "00",
        "=",
        "0",
        "B2",
        "01",
        "=",
        "1",
        "B1",
        "00",
        "=",
        "0",
        "B0",
        "00",
        "=",
        "0",
    ]
    assert "0.0625" in told(page, "regularizer_pull")
    picture = page.locator("#regularizer_pull .stage svg")
    box = picture.bounding_box()
    assert box is not None
    picture.scroll_into_view_if_needed()
    picture.click(position={"x": box["width"] - 12, "y": 100})
    assert page.locator("#regularizer_pull .touch").get_by_label("code of |w|").input_value() == "255"


@pytest.mark.parametrize(("bits", "step"), [(3, 1), (2, 4), (8, 1)])
def test_bitline_sums_meet_the_levels_of_the_librarys_adc(browser: Browser, address: str, bits: int, step: int) -> None:
    page = open_page(browser, address, "adc")
    page.locator("#adc_sums .touch").get_by_label("B2", exact=True).check()
    slide(page, "adc_sums", "ADC bits", "ArrowRight" if bits > 3 else "ArrowLeft", abs(bits - 3))
    slide(page, "adc_sums", "step", "ArrowRight", step.bit_length() - 1)
    counts = torch.tensor(data_of(page, "adc_sums")["counts"]["B2"], dtype=torch.float64)
    sums, adc = torch.arange(len(counts)), Adc(bits, step)
    error = (adc.convert(sums) - sums).double()
    share = counts / counts.sum()
    clipped = 100 * float(share[sums > adc.full_scale].sum())
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", told(page, "adc_sums"))]
    expected = [clipped, float((share * error).sum()), float((share * error.square()).sum().sqrt())]
    assert numbers[-4:-1] == pytest.approx(expected, rel=0.006)
    assert numbers[1] == adc.full_scale


def test_a_mark_names_its_run_and_links_to_its_record(browser: Browser, address: str, html: Path) -> None:
    page = open_page(browser, address, "crossbar")
    before = told(page, "crossbar_energy")
    assert "ADCs of 3,3,3,1 bits" in before
    slide(page, "crossbar_energy", "mark", "ArrowLeft")
    text = told(page, "crossbar_energy")
    assert text != before
    links = page.locator("#crossbar_energy .tip a").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    )
    run, setting, accuracy = re.match(r"(\S+) with ADCs of (\S+) bits: ([\d.]+)%", text).groups()  # type: ignore[union-attr]
    assert [Path(link).stem for link in links] == [run, run]
    settings = json.loads((html / links[1]).read_text())["settings"]
    assert f"{float(accuracy):.2f}" in {
        f"{s['accuracy']:.2f}" for s in settings if setting_name(from_json(s["adc_bits"])) == setting
    }
    page.locator("#crossbar_energy .stage svg").scroll_into_view_if_needed()
    page.locator("#crossbar_energy circle.mark").last.hover()
    assert told(page, "crossbar_energy") != text


def test_cost_models_follow_the_resolution(browser: Browser, address: str) -> None:
    page = open_page(browser, address, "costs")
    slide(page, "costs_savings", "bits", "Home")
    assert "28.4x" in told(page, "costs_savings")  # Saberi's, as quoted with the paper
    page.locator("#costs_savings .touch").get_by_label("area").check()
    assert "28.4x" not in told(page, "costs_savings")
    picture = page.locator("#costs_savings .stage svg")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": box["width"] - 20, "y": 100})
    assert told(page, "costs_savings").startswith("9 bits against 8")


@pytest.mark.parametrize("figure", ["adc_sums", "regularizer_pull", "crossbar_energy", "costs_savings"])
def test_without_scripts_the_printed_figure_stands_in_its_place(browser: Browser, address: str, figure: str) -> None:
    page = open_page(browser, address, figure.partition("_")[0], java_script_enabled=False)
    page.locator(f"#{figure} .canvas svg").first.wait_for(state="visible", timeout=10_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Browser, address: str, theme: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = axe(tmp_path_factory.mktemp("axe"))
    if script is None:
        pytest.skip("axe-core cannot be had: there is no npm, or no registry")
    findings, page = [], open_page(browser, address, "index", color_scheme=theme)
    for name in PAGES:
        page.goto(f"{address}/{name}.html", wait_until="load")
        findings += [f"{name}: {finding}" for finding in axe_findings(page, script)]
    page.context.close()
    assert not findings, "\n".join(findings)


def test_search_finds_what_readers_look_for(browser: Browser, address: str) -> None:
    page = browser.new_page()
    for term, title in {
        "headroom": "Making the claimed ADCs work",
        "bitline": "Why can the ADC resolution fall?",
        "Saberi": "What an ADC costs",
        "conductance": "Cells that are not ideal",
        "calibrate": "Use it",
    }.items():
        found = found_by_search(page, address, term)
        assert any(title.lower() in each.lower() for each in found), (term, found)


def test_every_anchor_is_there(html: Path) -> None:
    class Ids(HTMLParser):
        found: set[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.update(value for name, value in attrs if name in {"id", "name"} and value)

    def ids(path: Path) -> set[str]:
        parsed = Ids()
        parsed.found = set()
        parsed.feed(path.read_text())
        return parsed.found

    anchors = {path.name: ids(path) for path in html.glob("*.html")}
    missing = []
    for name in anchors:
        links = Links()
        links.feed((html / name).read_text())
        for link in map(urlsplit, links.found):
            page = unquote(link.path) or name
            if not link.scheme and link.fragment and page in anchors and unquote(link.fragment) not in anchors[page]:
                missing.append(f"{name}: {page}#{link.fragment}")
    assert not missing


def test_figures_are_numbered_and_spoken_of(html: Path) -> None:
    text = "".join((html / f"{name}.html").read_text() for name in PAGES)
    numbers = [int(number) for number in re.findall(r'class="caption-number">Fig\. (\d+) ', text)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 15
    assert re.search(
        r'<a class="reference internal" href="[\w.]*#\w+"><span class="std std-numref">Fig\. \d+</span>', text
    )


def test_the_book_is_printed_with_every_figure_and_links_that_lead_somewhere(project: Path, html: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    command = [sys.executable, "-m", "bitslice.book.pdf"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (project / "build/pdf/_build/singlehtml/index.html").read_text()
    for kind in ('<figure class="', "<math "):
        assert page.count(kind) == sum((html / f"{name}.html").read_text().count(kind) for name in PAGES)
    links = Links()
    links.feed(re.sub(r"<(?:link|script|img)\b[^>]*>", "", page))
    inside = [link for link in links.found if not urlsplit(link).scheme]
    assert all(link.startswith("#") for link in inside)
    assert [link for link in inside if link != "#" and f'id="{link[1:]}"' not in page] == []
    printed = (project / "build/bitslice.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert b"file://" not in printed
    assert printed.count(b"/Subtype /Link") > 100
