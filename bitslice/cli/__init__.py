"""The command line, a module a command. Errors are one line and status 2."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bitslice import __version__
from bitslice.cli import crossbar, fetch, notebook, results, train, zoo
from bitslice.errors import BitsliceError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line too."""

    def error(self, message: str) -> NoReturn:
        raise BitsliceError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="bitslice", description="Bit-slice sparsity for ReRAM accelerators, reproduced.")
    top.add_argument("--version", action="version", version=f"bitslice {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (fetch, train, results, crossbar, notebook, zoo):
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    try:
        options = parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()  # here, where a reader that has gone is no error
    except BitsliceError as error:
        print(f"bitslice: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has gone (`| head`): what is left in the buffer goes nowhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("bitslice: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
