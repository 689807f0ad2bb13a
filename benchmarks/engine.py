"""What the engine adds to a sweep, in processor seconds: a job that does nothing, a start, and the plan of 1,000 runs.

``python -m benchmarks.engine`` writes ``book/engine.json``.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bitslice.files import atomic_write
from bitslice.lab.provenance import commit, cpu_name

RECORD = Path("book/engine.json")
FEW, MANY = 20, 220
SNAKEFILE = """
rule book:
    input: expand("out/{n}", n=range(int(config["jobs"])))

rule job:
    output: "out/{n}"
    log: "log/{n}.txt"
    message: "touch {wildcards.n}"
    shell: "touch {output} > {log} 2>&1"
"""
GRID = """
experiments = ["mnist"]
methods = ["quantized", "pruned", "l1", "bl1", "bl0"]
alphas = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17]
seeds = [{seeds}]
profile = "quick"
adc_bits = ["3,3,3,1"]
"""
SEEDS = 20


def seconds(*words: str, folder: Path) -> float:
    """Processor seconds, of user and system, that a command of this Python takes with all that it starts."""
    before = os.times()
    subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    here = Path(__file__).parents[1]
    os.environ["OMP_NUM_THREADS"] = "1"
    taken = {}
    for jobs in (FEW, MANY):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "Snakefile").write_text(SNAKEFILE)
            words = ["-m", "bitslice.book.engine", "--cores", "1", "--config", f"jobs={jobs}", "--", "book"]
            taken[jobs] = seconds(*words, folder=folder)
    start = min(seconds("-c", "import bitslice.lab.training, bitslice.lab.plans", folder=here) for _ in range(3))
    with tempfile.TemporaryDirectory() as name:
        grid = Path(name, "grid.toml")
        grid.write_text(GRID.format(seeds=", ".join(map(str, range(SEEDS)))))
        words = ["-m", "snakemake", "--profile", "profiles/local", "--config", f"sweep={grid}", "--dry-run", "--quiet"]
        plan = seconds(*words, "all", "--", "sweep", folder=here)
    found = {
        "job_seconds": (taken[MANY] - taken[FEW]) / (MANY - FEW),
        "start_seconds": start,
        "plan_seconds": plan,
        "planned_runs": 50 * SEEDS,
        "provenance": {"commit": commit(), "device": cpu_name(), "python": sys.version.split()[0]},
    }
    with atomic_write(here / RECORD) as path:
        path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
