"""``bitslice results``: list the records below a folder."""

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    results = commands.add_parser("results", help="list the records below a folder")
    results.add_argument("folder", type=Path, nargs="?", help="default: the released ones, in results")
    form = results.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--card", action="store_true", help="the card of the networks, as in results/README.md")
    results.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.lab import records

    found = records.read_all(options.folder)
    if options.card:
        from bitslice.book.card import card

        print(card(found), end="")
        return
    for record in found:
        summary = record.summary()
        if options.json:
            print(json.dumps(summary))
        else:
            line = f"{record.path.as_posix():48} {record.accuracy:6.2f}%"
            if "density" in record.final:
                shares = " ".join(f"{share:6.2f}" for share in record.density)
                line += f"  B3..B0 {shares}  mean {record.mean_density:6.2f}%"
            print(line)
