"""The book in a real browser: Chromium by playwright, axe-core by npm, what readers do with a figure."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

AXE = "axe-core@4.10.3"
AXE_SHA512 = "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg=="


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def axe(folder: Path) -> str | None:
    """The script of axe-core, fetched by npm into ``folder`` and verified; None where npm or its registry is not."""
    if not (npm := shutil.which("npm")):
        return None
    done = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, check=False, timeout=120)
    if done.returncode:
        return None
    packed = next(folder.glob("axe-core-*.tgz")).read_bytes()
    found = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    assert found == AXE_SHA512, f"{AXE} is not what was pinned: {found}"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def axe_findings(page: Page, script: str) -> list[str]:
    """Serious and critical findings of axe-core on the page shown."""
    # The theme sets its colours by a script, and they fade in.
    page.wait_for_function("document.documentElement.dataset.theme !== 'auto' && !document.getAnimations().length")
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['impact']}: {violation['id']}: {node['target']}: {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


WIDER = """
() => {
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const inside = (element) => {
    for (let up = element.parentElement; up && up.closest(".bd-article"); up = up.parentElement)
      if (scrolls(up)) return true;
    return false;
  };
  return [...document.querySelectorAll(".bd-article *:not(svg *)")]
    .filter((element) => element.getClientRects().length && element.getBoundingClientRect().right > innerWidth + 1)
    .filter((element) => !inside(element))
    .map((element) => `${element.tagName} ${element.className}: ${element.textContent.slice(0, 40)}`);
}
"""
"""What reaches beyond the screen and is in no part of the page that scrolls by itself."""


def found_by_search(page: Page, address: str, term: str) -> list[str]:
    """Titles of the pages that the book's search lists for a term."""
    page.goto(f"{address}/search.html?q={term}")
    page.locator("#search-results p.search-summary").wait_for()
    page.wait_for_function("!document.querySelector('#search-results p.search-summary').textContent.endsWith('...')")
    return page.locator("#search-results ul.search li > a").all_inner_texts()


def slide(page: Page, figure: str, label: str, key: str, times: int = 1) -> None:
    """Press a key in the slider with this label."""
    control = page.locator(f"#{figure} .touch").get_by_label(label)
    control.focus()
    for _ in range(times):
        page.keyboard.press(key)


def told(page: Page, figure: str) -> str:
    """What a figure says beneath its picture."""
    return page.locator(f"#{figure} .touch .told").inner_text()
