"""``bitslice sweep``: train and simulate a grid of runs, on this machine or a cluster, and gather one table."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    sweep = commands.add_parser("sweep", help="train and simulate a grid of runs; gives one table")
    sweep.add_argument("grid", type=Path, metavar="GRID.toml", help="what is swept, as the book's page on use says")
    sweep.add_argument("--scheduler", default="local", help="local (default) or slurm, as profiles/ has them")
    sweep.add_argument(
        "--table", type=Path, metavar="FILE.csv", help="only gather what was run, into this file and FILE.parquet"
    )
    sweep.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry it out: become the engine, whose last job gathers the table."""
    from bitslice.errors import BitsliceError
    from bitslice.lab import sweep
    from bitslice.lab.names import by_name
    from bitslice.lab.project import root

    grid = sweep.read(options.grid)
    if options.table is not None:
        table = list(sweep.rows(grid, Path("build/runs"), Path("build/sweep")))
        if options.table.suffix != ".csv":
            raise BitsliceError(f"the table is written as FILE.csv and FILE.parquet, not {options.table}")
        sweep.write_table(table, options.table)
        print(f"{options.table}: {len(table)} rows")
        return
    profiles = {path.name: path for path in sorted((root() / "profiles").iterdir())}
    profile = by_name("scheduler", profiles, options.scheduler).absolute()
    file = options.grid.absolute()
    os.chdir(root())
    print(f"{len(grid.configs)} runs; the table will be {Path.cwd() / 'build/sweep' / file.stem}.csv", flush=True)
    words = ["-m", "bitslice.book.engine", "--profile", str(profile), "--config", f"sweep={file}", "--", "sweep"]
    os.execv(sys.executable, [sys.executable, *words])
