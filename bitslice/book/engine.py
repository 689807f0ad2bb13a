"""Snakemake, run so that a run which was killed holds nobody up: ``python -m bitslice.book.engine ARGUMENTS``.

Snakemake's lock on a folder is a set of files, which stay when its process is killed. Here the process holds a lock of
the operating system's besides, which goes with it whatever its end; whoever gets that one knows that such files are
left over from an earlier run. This rests on every Snakemake of a folder being started here, as make does.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bitslice.errors import BitsliceError
from bitslice.lab.disk import check_writable

LOCK = Path(".snakemake/engine.lock")
LEFT_OVER = Path(".snakemake/locks")


def hold(path: Path) -> bool:
    """Lock a file until this process and its jobs end; False where that cannot be had.

    Raises:
        BitsliceError: if another process holds it, naming it.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text() or "unknown"
        raise BitsliceError(f"make is at work in this folder already (process {holder}): wait until it ends") from None
    except OSError:  # a file system without locks, or read-only: Snakemake's own lock must do
        return False
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)
    return True


def main(arguments: Sequence[str]) -> None:
    """Be Snakemake with these arguments, in our own words; end with status 2 if another one is at work,
    or the folder cannot be written."""
    try:
        check_writable(LOCK.parent)
        held = hold(LOCK)
    except BitsliceError as error:
        print(f"bitslice: {error}", file=sys.stderr)
        sys.exit(2)
    if held and any(LEFT_OVER.glob("*.lock")):
        command = [sys.executable, "-m", "snakemake", "--unlock", *arguments]
        subprocess.run(command, capture_output=True, check=False)

    from snakemake import cli
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    from bitslice.book import progress

    LoggerPluginRegistry().register_plugin("snakemake_logger_plugin_bitslice", progress)
    cli.main(["--logger", "bitslice", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
