"""``bitslice zoo``: what crossbars make of other people's architectures."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    zoo = commands.add_parser("zoo", help="map and time architectures of torchvision, and more")
    zoo.add_argument("--rounds", type=int, default=5, help="how often each form is timed (default 5)")
    zoo.add_argument("--out", type=Path, help="record to write (default book/zoo.json)")
    zoo.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    import torch

    from bitslice.errors import BitsliceError
    from bitslice.files import atomic_write
    from bitslice.lab import zoo
    from bitslice.lab.architectures import NETWORKS
    from bitslice.lab.disk import check_writable

    if options.rounds < 1:
        raise BitsliceError(f"rounds must be at least 1, not {options.rounds}")
    out = options.out or zoo.RECORD
    check_writable(out.parent)
    torch.set_num_threads(1)
    found = zoo.zoo(NETWORKS, options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    with atomic_write(out) as path:
        path.write_text(json.dumps(found.to_dict(), indent=1) + "\n")
    print(out)
