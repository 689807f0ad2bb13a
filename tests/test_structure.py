"""The house: what imports what, how large the library is, and that every name is where it is said to be."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bitslice
from bitslice import costs, crossbar
from bitslice.book.sources import PACKAGE

ROOT = PACKAGE.parent
STOREYS_ABOVE = ("lab", "book", "cli")
LIBRARY = [
    path
    for path in sorted(PACKAGE.rglob("*"))
    if path.suffix in {".py", ".c", ".h"} and path.relative_to(PACKAGE).parts[0] not in STOREYS_ABOVE
]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__main__"
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_library_is_small_enough_to_read_in_an_evening() -> None:
    assert sum(map(lines, LIBRARY)) <= 5900
    assert max(lines(path) for path in PACKAGE.rglob("*.py")) <= 350


def test_the_library_needs_numpy_and_torch_alone() -> None:
    needed = set()
    for path in LIBRARY:
        if path.suffix == ".py" and path.name != "__main__.py":
            for node in ast.parse(path.read_text()).body:  # what a function imports is asked for when it is called
                if isinstance(node, ast.Import):
                    needed |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    needed.add((node.module or "").split(".")[0])
    assert needed - sys.stdlib_module_names == {"bitslice", "numpy", "torch"}


def test_imports_run_one_way() -> None:
    """The contracts in pyproject.toml, as ``make test`` runs them."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_types_are_marked() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_every_public_name_loads_and_has_one_home() -> None:
    homes: dict[str, str] = {}
    for package in (bitslice, crossbar, costs):
        for name in package.__all__:
            assert getattr(package, name) is not None
            if not name.startswith("__"):
                assert homes.setdefault(name, package.__name__) == package.__name__
    assert {"quantize", "BitSliceL1", "through_adcs", "deploy", "network_cost", "crossbar", "costs"} <= homes.keys()


def test_type_checkers_see_the_names_that_load_on_first_use() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in guarded.body for alias in getattr(node, "names", ())}
    assert seen == set(bitslice.__all__) - {"__version__"}


@pytest.mark.parametrize("package", ["crossbar", "costs", "lab.data", "book.analysis", "book.tables"])
def test_a_package_lists_what_it_gives(package: str) -> None:
    module = importlib.import_module(f"bitslice.{package}")
    given = {
        alias.asname or alias.name
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert given <= set(module.__all__)


def test_the_version_is_stated_once(capsys: pytest.CaptureFixture[str]) -> None:
    from bitslice.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"bitslice {bitslice.__version__}\n"
    for name in ("pyproject.toml", "CITATION.cff"):
        assert re.search(
            rf'^version[:=] *"?{bitslice.__version__}"?$', (ROOT / name).read_text().replace(" = ", "="), re.M
        )
    assert f"## {bitslice.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def prose() -> Iterator[tuple[str, str]]:
    """Every page's text and every notebook's Markdown, with where it stands."""
    for page in PAGES:
        yield page.name, re.sub(r"```\w*\n.*?```", "", page.read_text(), flags=re.DOTALL)
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.name, "".join(cell["source"])


NAMED = {
    (where, name) for where, text in prose() for name in re.findall(r"`((?:bitslice|crossbar|costs)\.[\w.]+)", text)
}


@pytest.mark.parametrize(("where", "name"), sorted(NAMED))
def test_what_a_page_names_is_reachable(where: str, name: str) -> None:
    assert pkgutil.resolve_name(name if name.startswith("bitslice") else f"bitslice.{name}") is not None


def roles(module: ModuleType) -> Iterator[str]:
    """Every cross-reference in the docstrings of a module and of what it defines."""
    owners = [module, *(v for v in vars(module).values() if getattr(v, "__module__", None) == module.__name__)]
    owners += [v for owner in owners if isinstance(owner, type) for v in vars(owner).values()]
    for owner in owners:
        yield from re.findall(
            r":(?:mod|func|class|attr|data|meth|exc):`~?([\w.]+)`", getattr(owner, "__doc__", "") or ""
        )


@pytest.mark.parametrize("module", MODULES)
def test_what_a_docstring_refers_to_is_reachable(module: str) -> None:
    found = importlib.import_module(module)
    holders = [found, *(v for v in vars(found).values() if isinstance(v, type))]
    for name in roles(found):
        if name.startswith("bitslice."):
            assert pkgutil.resolve_name(name) is not None
        else:
            first = name.split(".")[0]
            assert any(hasattr(h, first) or first in getattr(h, "__annotations__", ()) for h in holders), name
