"""``bitslice verify``: released files against what is computed anew; of the whole project, one table."""

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    verify = commands.add_parser("verify", help="compute anew what released files say (all of them: make verify)")
    verify.add_argument("files", type=Path, nargs="*", help="records and simulations; without one: the project's table")
    verify.add_argument("--full", action="store_true", help="every setting of a simulation; all of them in the table")
    verify.add_argument("--out", type=Path, help="write what was found as JSON, and end with status 0 whatever it is")
    verify.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry it out; status 1 if something differs."""
    if not options.files:
        return run_table(options)
    import torch

    from bitslice.files import atomic_write
    from bitslice.lab.verification import verify

    torch.set_num_threads(1)
    found = []
    for file in options.files:
        found.append(verify(file, options.full))
        print("\n".join(found[-1].differences() or [f"{file}: {len(found[-1].checks)} checks hold"]), flush=True)
    if options.out is None:
        return int(not all(each.holds for each in found))
    with atomic_write(options.out) as path:
        path.write_text(json.dumps({"files": [each.to_dict() for each in found]}) + "\n")
    return 0


def run_table(options: argparse.Namespace) -> int:
    """The table of every claim, from what ``make verify`` has found in ``build/verify``."""
    from bitslice.book import verified

    found = verified.gather(options.full)
    print("\n".join(found.lines()))
    verified.write(found, options.out or verified.RECORD)
    return int(not found.holds)
