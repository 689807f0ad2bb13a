"""``bitslice results``: list the records below a folder."""

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    results = commands.add_parser("results", help="list the records below a folder")
    results.add_argument("folder", type=Path, nargs="?", help="default: the released ones, in results")
    results.add_argument("--json", action="store_true", help="one JSON object a line")
    results.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.lab import records

    for record in records.read_all(options.folder):
        summary = record.summary()
        if options.json:
            print(json.dumps(summary))
        else:
            line = f"{record.path.as_posix():48} {record.accuracy:6.2f}%"
            if "density" in record.final:
                shares = " ".join(f"{share:6.2f}" for share in record.density)
                line += f"  B3..B0 {shares}  mean {record.mean_density:6.2f}%"
            print(line)
