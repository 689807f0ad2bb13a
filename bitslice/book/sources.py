"""Which of the library's files a module or a notebook depends on, so that nothing else makes it run again."""

import ast
import json
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def module_file(name: str) -> Path | None:
    """The file of a ``bitslice`` module by dotted name, relative to the project's root; None for anything else."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path.relative_to(PACKAGE.parent)
    return None


@cache
def imported(code: str) -> frozenset[Path]:
    """The library's files that Python ``code`` imports directly."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(path for path in map(module_file, names) if path is not None)


def closure(code: str) -> list[str]:
    """The library's files that ``code`` imports, directly or not, sorted; with a module, the C beside it.

    >>> closure("import bitslice.slices")
    ['bitslice/errors.py', 'bitslice/slices.py']
    """
    seen: set[Path] = set()
    waiting = set(imported(code))
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= imported((PACKAGE.parent / path).read_text()) - seen
    folders = {path.parent for path in seen}
    kernels = {folder / kernel.name for folder in folders for kernel in (PACKAGE.parent / folder).glob("*.[ch]")}
    return sorted(path.as_posix() for path in seen | kernels)


def notebook_sources(path: Path) -> list[str]:
    """The library's files that a notebook's code cells import, directly or not."""
    cells = json.loads(path.read_text())["cells"]
    return closure("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
