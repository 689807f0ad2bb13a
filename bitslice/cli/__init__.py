"""The command line, a module a command. Errors are one line and status 2."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from bitslice import __version__
from bitslice.cli import archive, crossbar, doctor, fetch, notebook, provenance, results, sweep, train, verify, zoo
from bitslice.errors import BitsliceError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line too, and which takes every negative number for a value."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # By itself argparse knows -1 and -0.5, and takes -1e-3 for an option.
        self._negative_number_matcher = re.compile(
            r"-((\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[-+]?\d+)?|inf(inity)?|nan)$", re.IGNORECASE
        )

    def error(self, message: str) -> NoReturn:
        raise BitsliceError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="bitslice", description="Bit-slice sparsity for ReRAM accelerators, reproduced.")
    top.add_argument("--version", action="version", version=f"bitslice {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (fetch, train, sweep, results, provenance, crossbar, zoo, notebook, verify, archive, doctor):
        command.add(commands)
    return top


@contextmanager
def _tidy_end() -> Iterator[None]:
    """Within it SIGTERM ends the process as an exception does, so that temporary files and kernels go with it."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    status: int | None
    try:
        options = parser().parse_args(arguments)
        with _tidy_end():
            status = options.run(options)
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
    return status or 0
