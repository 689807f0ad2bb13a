"""``bitslice fetch``: fetch and verify a data set."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    fetch = commands.add_parser("fetch", help="fetch and verify a data set")
    fetch.add_argument("data_set", metavar="DATA_SET", help="mnist or cifar10")
    fetch.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.lab.data import DATA_SETS
    from bitslice.lab.names import by_name

    images = by_name("data set", DATA_SETS, options.data_set)(True)
    print(f"{options.data_set}: {len(images)} training images, verified")
