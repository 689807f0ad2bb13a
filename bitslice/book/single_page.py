"""A rerun notebook away from the book: links that lead to files, and one page that needs no other file.

The book's own configuration builds the page, so that it looks like the book's; what it needs is put into it.
"""

import base64
import mimetypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from bitslice.errors import BitsliceError
from bitslice.lab.project import root

PLAIN = """<style>
.bd-sidebar-primary, .bd-sidebar-secondary, .bd-header, .bd-header-article, .prev-next-footer, .search-button__wrapper,
.skip-link, #pst-back-to-top, .pst-async-banner-revealer, dialog { display: none !important; }
</style><script>
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
</script>"""
"""What a page by itself has besides: no way on to pages that are not there, and the theme that its reader prefers."""


def has_book() -> bool:
    """Whether the project has the book's configuration."""
    return (root() / "_config.yml").is_file() and (root() / "book").is_dir()


def led(text: str, folder: Path, figures: Path) -> str:
    """HTML whose links into the project lead to its files from ``folder``, as do those to figures.

    >>> led('<a href="figures/a.svg"><a href="https://b.org">', Path("/p/out"), Path("/p/out/figures"))
    '<a href="figures/a.svg"><a href="https://b.org">'
    """

    def there(link: re.Match[str]) -> str:
        path = Path(link[2])
        target = figures / path.relative_to("figures") if path.parts[0] == "figures" else root().absolute() / path
        return f"{link[1]}{Path(os.path.relpath(target, folder)).as_posix()}"

    project = r"(?:figures|notebooks|results|simulations)/[\w./-]+"
    return re.sub(rf'((?:href=|"reports":|\[)")({project})', there, text)


def relink(path: Path, output: Path, figures: Path) -> None:
    """Make links of an executed notebook lead to files: to other notebooks and pages, to figures, to records.

    Args:
        path: the notebook, changed in place.
        output: where it will lie.
        figures: folder of its figures.
    """
    folder, figures = output.absolute().parent, figures.absolute()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"(?<=\]\()([\w-]+\.(?:ipynb|md))(?=[#)])",
                lambda link: Path(os.path.relpath(_source(link[1]), folder)).as_posix(),
                cell.source,
            )
        for shown in cell.get("outputs", []):
            if "text/html" in shown.get("data", {}):
                shown.data["text/html"] = led(shown.data["text/html"], folder, figures)
    nbformat.write(notebook, path)


def _source(name: str) -> Path:
    """The file of a page by the name that links give it."""
    return root().absolute() / ("notebooks" if name.endswith(".ipynb") else "book") / name


def single_page(executed: str, output: Path, figures: Path) -> str:
    """An executed notebook as one page of HTML that looks like the book's and needs no other file.

    Args:
        executed: the notebook's JSON, its links as in the book.
        output: where it lies; the page lies beside it.
        figures: folder of its figures.

    Raises:
        BitsliceError: if the page cannot be built.
    """
    with tempfile.TemporaryDirectory(prefix="bitslice-") as name:
        folder = Path(name)
        shutil.copytree(root() / "book", folder / "book")
        shutil.copy(root() / "_config.yml", folder / "_config.yml")
        (folder / "book" / f"{output.stem}.ipynb").write_text(executed)
        (folder / "book" / "extra").mkdir()
        (folder / "book" / "_toc.yml").write_text(
            f"format: jb-book\nroot: {output.stem}\nchapters:\n  - file: glossary\n  - file: bibliography\n"
        )
        command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book", "--config", "_config.yml"]
        done = subprocess.run(
            [*command, "--path-output", "out", "--quiet"], cwd=folder, capture_output=True, text=True, check=False
        )
        html = folder / "out/_build/html"
        page = html / f"{output.stem}.html"
        if not page.exists():
            raise BitsliceError(f"the page of {output.stem} could not be built: {done.stderr.strip()[-500:]}")
        text = _filled(page.read_text(), html)
    return led(text, output.absolute().parent, figures.absolute())


def _filled(text: str, folder: Path) -> str:
    """A page with its styles, its own script and its pictures in it, and without what it does not need by itself."""

    def style(link: re.Match[str]) -> str:
        return f"<style>{(folder / link[1].split('?')[0]).read_text()}</style>"

    def script(link: re.Match[str]) -> str:
        return f"<script>{(folder / link[1].split('?')[0]).read_text()}</script>" if "touch.js" in link[1] else ""

    def picture(link: re.Match[str]) -> str:
        kind = mimetypes.guess_type(link[1])[0]
        return f'src="data:{kind};base64,{base64.b64encode((folder / link[1]).read_bytes()).decode()}"'

    text = re.sub(r'<link rel="stylesheet"[^>]* href="(_static/[^"]+)"[^>]*>', style, text)
    text = re.sub(r'<script[^>]* src="([^"]+)"[^>]*></script>', script, text)
    text = re.sub(r'<link [^>]*(?:href|src)="[^"]*"[^>]*>', "", text)
    text = re.sub(r'src="(_(?:static|images)/[^"?]+)[^"]*"', picture, text)
    text = re.sub(r'(<a\b[^>]*?) href="(?:_sources/|[\w-]+\.html)[^"]*"', r"\1", text)  # the book's other pages
    return text.replace("</head>", f"{PLAIN}</head>", 1)
