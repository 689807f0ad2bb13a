"""Tables of trained networks: claims, methods, sweeps, and how long they took."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bitslice.book import analysis
from bitslice.book.analysis import CLAIMED_BITS, Claim, Pretrained, Spread, spread
from bitslice.book.figures import METHOD_NAMES
from bitslice.book.tables.cells import text
from bitslice.lab.records import Record
from bitslice.lab.words import Method


def claims(found: Iterable[Claim]) -> list[dict[str, Any]]:
    """The claims table."""
    return [
        {"Claim": c.claim, "Claimed": c.claimed, "Reproduced": c.reproduced, "n": c.n, "Verdict": f"**{c.verdict}**"}
        for c in found
    ]


def methods(runs: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """The paper's table: a row a method, runs of equal alpha, mean and standard deviation over seeds.

    Args:
        runs: by method; a float network has no slices.
    """
    rows = []
    for method, records in runs.items():
        alpha = records[0].config.alpha
        row = {"Method": METHOD_NAMES[method], "alpha": "–" if alpha is None else f"{alpha:g}", "n": len(records)}
        row["Accuracy"] = spread(records, lambda r: r.accuracy).text()
        sliced = records[0].config.method is not Method.FLOAT
        for place, name in enumerate(CLAIMED_BITS):
            shares = spread(records, lambda r, k=place: r.density[k]) if sliced else None  # type: ignore[misc]
            row[name] = text(shares)
        row["Mean"] = text(spread(records, lambda r: r.mean_density) if sliced else None)
        rows.append(row)
    return rows


def equal_accuracy(sweeps: Mapping[str, Sequence[Record]], levels: Iterable[float]) -> list[dict[str, Any]]:
    """Mean densities at equal accuracy, and how many times denser L1 is than each other method, seed by seed.

    Args:
        sweeps: by method, ``l1`` among them.
        levels: accuracies in percent; one that L1 or every other method leaves uncovered has no row.
    """
    others = [method for method in sweeps if method != "l1"]
    rows = []
    for level in levels:
        ratios = {method: analysis.density_ratio(sweeps["l1"], sweeps[method], level) for method in others}
        if not any(ratios.values()):
            continue
        row = {"Accuracy (%)": f"{level:.2f}"}
        for method, runs in sweeps.items():
            row[f"{METHOD_NAMES[method]}, density (%)"] = text(analysis.density_at(runs, level))
        for method, ratio in ratios.items():
            row[f"L1 / {METHOD_NAMES[method]}"] = _with_verdict(ratio)
        rows.append(row)
    return rows


def against_pruning(
    pruned: Sequence[Record], sweeps: Mapping[str, Sequence[Record]], given_up: Iterable[float]
) -> list[dict[str, Any]]:
    """How many times denser the pruned network is than each swept method, some points of accuracy below it."""
    return [
        {"Accuracy given up (points)": f"{points:.1f}"}
        | {
            f"Pruned / {METHOD_NAMES[method]}": _with_verdict(analysis.pruned_ratio(pruned, runs, points))
            for method, runs in sweeps.items()
        }
        for points in given_up
    ]


def _with_verdict(ratio: Spread | None) -> str:
    return "–" if ratio is None else f"{ratio.text(unit='x')} (n={ratio.n}), 2x {analysis.verdict(ratio, 2)}"


def pretraining(found: Pretrained) -> list[dict[str, Any]]:
    """Accuracy and density of runs that were pre-trained with L1 and without, a row a method."""
    return [
        {"Method": method.title, "n": str(len(runs))}
        | {
            f"{title}, {quantity}": spread(own, read).text()
            for title, own in (("With L1", found.with_l1[method]), ("without", runs))
            for quantity, read in (
                ("accuracy (%)", lambda run: run.accuracy),
                ("density (%)", lambda run: run.mean_density),
            )
        }
        for method, runs in found.without.items()
    ]


def beside_released(live: Iterable[Record], released: Sequence[Record]) -> list[dict[str, Any]]:
    """The reader's own runs beside the released ones of equal method, alpha and seed."""
    rows = []
    for record in live:
        twin = next(
            (r for r in released if (r.config.experiment, r.path.stem) == (record.config.experiment, record.path.stem)),
            None,
        )
        rows.append(
            {
                "Run": record.path.stem,
                "Profile": record.config.profile.value,
                "Accuracy, live (%)": f"{record.accuracy:.2f}",
                "released (%)": "–" if twin is None else f"{twin.accuracy:.2f}",
                "Mean density, live (%)": f"{record.mean_density:.2f}",
                "released, density (%)": "–" if twin is None else f"{twin.mean_density:.2f}",
            }
        )
    return rows


def versions(found: Mapping[str, str], commit: str | None) -> list[dict[str, Any]]:
    """Versions of what the book was built with."""
    own = [{"Package": "bitslice, commit", "Version": commit or "unknown"}]
    return own + [{"Package": name, "Version": version} for name, version in found.items()]


def timings(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Where and how long groups of equal runs (all but seed and alpha) trained."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        source = record.provenance
        key = (
            record.config.experiment,
            record.config.method.value + ", adapted to ADCs" * (record.config.adapt is not None),
            record.config.profile.value,
            (source["commit"] or "unknown")[:12],
            f"{source['device']}, {source['threads']} thread" + "s" * (source["threads"] != 1),
        )
        groups.setdefault(key, []).append(record)
    names = ("Experiment", "Method", "Profile", "Commit", "Device")
    return [
        dict(zip(names, key, strict=True))
        | {"Runs": len(runs), "Seconds a run": spread(runs, lambda r: float(r.provenance["wall_seconds"])).text(0)}
        for key, runs in groups.items()
    ]
