"""Timing shared by the benchmarks: interleaved runs, medians, one results file."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(arms: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median wall time of each arm over ``runs`` rounds in which they take turns, after two to warm up."""
    for work in [*arms.values()] * 2:
        work()
    times = [{name: seconds(work) for name, work in arms.items()} for _ in range(runs)]
    return {name: statistics.median(round_[name] for round_ in times) for name in arms}


def merge(path: Path, results: Mapping[str, object]) -> None:
    """Add ``results`` to the benchmark file, keeping what other benchmarks wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**earlier, **results}, indent=2) + "\n")
