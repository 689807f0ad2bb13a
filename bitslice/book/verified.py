"""One table of every claim: what is stated, what was computed anew, and what that took. ``make verify`` writes it."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from bitslice.book.figures import EXPERIMENT_NAMES
from bitslice.book.statements import STATEMENTS, Statement
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab import records
from bitslice.lab.data import DATA_SETS, data_folder
from bitslice.lab.data.download import verify_md5
from bitslice.lab.disk import read_json
from bitslice.lab.plans import command
from bitslice.lab.project import found
from bitslice.lab.provenance import Provenance, provenance
from bitslice.lab.verification import IMAGES_APART, Verified, read

RECORD = Path("book/verify.json")
"""Where the committed table lies, relative to the project's root."""

PARTS = Path("build/verify")
"""Where the engine's jobs leave what they find: in ``sample`` and ``full``."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        claim: what is stated.
        command: which verifies it.
        expected, found: as text.
        tolerance: likewise.
        holds: whether what was found is what was expected.
        minutes: of computation.
        memory: most bytes that a process held; None: not measured.
        disk: bytes of the files that are claimed to be right; likewise.
        differences: a line each.
    """

    claim: str
    command: str
    expected: str
    found: str
    tolerance: str
    holds: bool
    minutes: float = 0.0
    memory: int | None = None
    disk: int | None = None
    differences: tuple[str, ...] = ()

    def cells(self) -> dict[str, str]:
        """As the table prints it."""
        return {
            "Claim": self.claim,
            "Command": self.command,
            "Expected": self.expected,
            "Found": self.found if self.holds else f"{self.found} (DIFFERS)",
            "Tolerance": self.tolerance,
            "Minutes": f"{self.minutes:.1f}",
        }


@dataclass(frozen=True)
class Table:
    """Every row; and whether every simulation was run again, or one of each kind and experiment."""

    rows: tuple[Row, ...]
    full: bool
    provenance: Provenance

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(row.holds for row in self.rows)

    def lines(self) -> list[str]:
        """The table as text, then every difference."""
        widths = [60, 30, 24, 40, 16, None]
        table = tabulate([row.cells() for row in self.rows], headers="keys", maxcolwidths=widths)
        differ = [line for row in self.rows for line in row.differences]
        broken = sum(not row.holds for row in self.rows)
        end = f"{broken} of {len(self.rows)} claims DIFFER" if broken else f"All {len(self.rows)} claims hold"
        return [*table.splitlines(), *differ, end]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Table":
        """From plain JSON values."""
        rows = tuple(Row(**{**row, "differences": tuple(row["differences"])}) for row in values["rows"])
        return cls(rows, values["full"], values["provenance"])


def read_table(path: Path = RECORD) -> Table:
    """What :func:`write` wrote.

    Raises:
        BitsliceError: if there is no such file, or it is another.
    """
    return read_json(path, "table of verified claims", Table.from_dict)


def write(table: Table, path: Path) -> None:
    """Write a table as JSON, in one step."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(table), indent=1, ensure_ascii=False) + "\n")


def gather(full: bool = False) -> Table:
    """Every claim: checksums and prose now, networks and simulations from what the engine's jobs have found.

    Raises:
        BitsliceError: if those found nothing yet.
    """
    started = time.monotonic()
    parts = sorted((PARTS / ("full" if full else "sample")).glob("*.json"))
    if not parts:
        raise BitsliceError(f"nothing was computed yet: make verify{' FULL=1' * full}")
    results = [each for part in parts for each in read(part)]
    rows = (*_checksums(), *map(_prose, STATEMENTS), *_computed(results))
    seconds = time.monotonic() - started + sum(each.seconds for each in results)
    return Table(rows, full, provenance(torch.device("cpu"), torch.get_num_threads(), seconds))


def _checksums() -> Iterator[Row]:
    for data_set in DATA_SETS.values():
        paths = {data_folder() / data_set.folder / name: md5 for name, md5 in data_set.files.items()}
        yield _each(f"{data_set.title}: files have their official md5", "bitslice doctor", paths.items(), _has_md5)
    released = records.read_all()
    kept = [record for record in released if record.weights is not None]
    run = "bitslice provenance RECORD"
    yield _each("Weights have the SHA-256 that their records name", run, kept, lambda r: [r.weights_path()])
    yield _each("A command makes each record's configuration again", run, released, _has_command)


def _has_md5(pair: tuple[Path, str]) -> list[Path]:
    path, md5 = pair
    if not path.exists():
        raise BitsliceError(f"{path} is missing")
    verify_md5(path, md5)
    return [path]


def _has_command(record: records.Record) -> list[Path]:
    command(record.config)
    return [record.path]


def _each(claim: str, run: str, things: Any, check: Any) -> Row:
    """A row that counts for how many of several things ``check`` raises nothing; it gives the files it looked at."""
    started, files, differ = time.monotonic(), list[Path](), list[str]()
    for thing in things:
        try:
            files += check(thing)
        except BitsliceError as error:
            differ.append(str(error))
    total, minutes = len(files) + len(differ), (time.monotonic() - started) / 60
    disk = sum(path.stat().st_size for path in files)
    return Row(claim, run, f"{total}", f"{len(files)}", "0", not differ, minutes, None, disk, tuple(differ))


def _prose(statement: Statement) -> Row:
    check, stands = statement.check(), statement.stands()
    differ = () if stands else (f"{statement.page} does not say any more: {statement.words}",)
    found_ = ", ".join(f"{value:.4g}" for value in check.found or ())
    return Row(
        f"{Path(statement.page).stem}: “{statement.words}”",
        "bitslice verify",
        ", ".join(f"{value:g}" for value in check.expected),
        found_ if stands else f"{found_}, but the words are gone",
        f"{check.tolerance:g}",
        check.holds and stands,
        differences=differ,
    )


def _computed(results: Iterable[Verified]) -> Iterator[Row]:
    folders: dict[Path, list[Verified]] = {}
    for each in results:
        if each.checks or each.problem:  # a record without weights leaves nothing to compute
            folders.setdefault(Path(each.path).parent, []).append(each)
    for folder, found_ in folders.items():
        yield _folder(folder, found_)


def _folder(folder: Path, results: Sequence[Verified]) -> Row:
    """One row for what was computed of the files of one folder."""
    checks = [check for each in results for check in each.checks]
    numbers, differ = sum(len(check.expected) for check in checks), [d for each in results for d in each.differences()]
    quantities = ", ".join(dict.fromkeys(check.quantity for check in checks))
    apart = max((check.apart for check in checks if check.quantity.startswith("accuracies")), default=0.0)
    exact = sum(check.apart == 0 for check in checks)
    subject = "networks" if folder.parts[0] == "results" else f"simulations, {folder.parts[1]}"
    paths = [found(Path(each.path)) for each in results]
    files = [file for path in paths for file in (path, path.with_suffix(".npz")) if file.exists()]
    return Row(
        f"{EXPERIMENT_NAMES[folder.name]}: {len(results)} {subject}: {quantities}",
        f"bitslice verify {folder}/*.json",
        f"{numbers:,} numbers",
        f"{exact} of {len(checks)} checks to the digit; accuracies differ by {apart:.2g} at most",
        f"{IMAGES_APART} images",
        not differ,
        sum(each.seconds for each in results) / 60,
        max(each.memory for each in results),
        sum(file.stat().st_size for file in files),
        tuple(differ),
    )
