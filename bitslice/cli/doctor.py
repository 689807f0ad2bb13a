"""``bitslice doctor``: whether this machine has what the project needs."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    doctor = commands.add_parser("doctor", help="check that this machine has what the project needs")
    doctor.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Carry it out; status 1 if something is to be mended."""
    from bitslice.book.health import findings

    found = findings()
    width = max(len(finding.name) for finding in found)
    for finding in found:
        print(f"{finding.name:{width}}  {'ok: ' if finding.fine else 'TO DO: '}{finding.text}")
    return int(not all(finding.fine for finding in found))
