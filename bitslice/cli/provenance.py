"""``bitslice provenance``: where a record comes from, and how to make it again."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitslice.errors import BitsliceError

if TYPE_CHECKING:  # importing torch takes longer than --help
    from bitslice.lab.records import Record


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    provenance = commands.add_parser("provenance", help="where a record comes from, and how to make it again")
    provenance.add_argument("record", type=Path, metavar="RECORD", help="a run's record")
    provenance.add_argument("--json", action="store_true", help="print JSON")
    provenance.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.lab import records

    found = origin(records.read(options.record))
    print(json.dumps(found) if options.json else "\n".join(lines(found)))


def origin(record: "Record") -> dict[str, Any]:
    """Everything that is known of a record's origin, as plain JSON values.

    Its ``provenance`` is as the record has it; ``lock`` the SHA-256 of the lock file, that of its commit if a record is
    older than naming it. ``weights.file_has_it`` tells whether the file beside the record has the
    SHA-256; None: there is no such file. ``command`` is None where no command makes the record today, for which
    ``without_command`` gives the reason.
    """
    from bitslice.lab.data import DATA_SETS
    from bitslice.lab.disk import sha256
    from bitslice.lab.names import by_name
    from bitslice.lab.plans import command
    from bitslice.lab.provenance import lock

    source, config, weights = record.provenance, record.config, None
    of_commit = lock(source["commit"]) if source.get("commit") else None
    if record.weights is not None:
        file = record.path.with_name(record.weights["file"])
        same = sha256(file) == record.weights["sha256"] if file.exists() else None
        weights = {**record.weights, "file_has_it": same}
    try:
        words, reason = command(config, source.get("threads", 1), source.get("compiled", False)), None
    except BitsliceError as error:
        words, reason = None, str(error)
    return {
        "record": record.path.as_posix(),
        "provenance": source,
        "lock": source.get("lock", of_commit),
        "data": {"name": config.data, "md5": dict(by_name("data set", DATA_SETS, config.data).files)},
        "weights": weights,
        "command": words,
        "without_command": reason,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """An :func:`origin` as text."""
    weights, beside = found["weights"], {True: "has it", False: "HAS ANOTHER ONE", None: "is missing"}
    facts = {name.replace("_", " "): value for name, value in found["provenance"].items()}
    facts["commit"] = facts.get("commit") or "unknown"
    facts["lock"] = found["lock"] or "unknown"
    if facts["commit"].endswith("+"):
        facts["commit"] = f"{facts['commit'][:-1]} with uncommitted changes"
    facts |= {f"md5 of {name}": md5 for name, md5 in found["data"]["md5"].items()}
    facts["weights' SHA-256"] = (
        f"{weights['sha256']}; {weights['file']} {beside[weights['file_has_it']]}" if weights else "none kept"
    )
    facts["command"] = found["command"] or found["without_command"]
    width = max(map(len, facts))
    return [found["record"], *(f"  {name:{width}}  {value}" for name, value in facts.items())]
