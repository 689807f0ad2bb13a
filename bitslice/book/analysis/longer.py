"""Whether what was found on small ADCs holds for networks that were trained for longer."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bitslice.book.analysis.remedies import KEPT
from bitslice.book.analysis.seeds import Spread, spread
from bitslice.book.analysis.selection import adapted, paired
from bitslice.book.analysis.simulated import simulated
from bitslice.book.analysis.tried import ADAPTATIONS, REMEDIES, Tried
from bitslice.lab.experiments import EXPERIMENTS
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile


def longer_runs(records: Iterable[Record], experiment: str) -> dict[str, list[Record]]:
    """Runs of the ``long`` profile by method, of each with its smallest alpha; other settings are the default ones."""
    found: dict[str, list[Record]] = {}
    for run in sorted(records, key=lambda run: (list(Method).index(run.config.method), run.config.alpha or 0)):
        config = run.config
        if (config.experiment, config.profile) == (experiment, Profile.LONG):
            own = found.setdefault(config.method.value, [])
            if config == EXPERIMENTS[experiment](config.method, config.profile, config.seed, config.alpha) and (
                not own or own[0].config.alpha == config.alpha
            ):
                own.append(run)
    return {method: own for method, own in found.items() if own}


def trained_longer(records: Sequence[Record], folder: Path) -> dict[str, Tried]:
    """What was tried with networks of the ``long`` profile, by experiment; kinds without a report are left out.

    Args:
        records: runs of any profile, of which :func:`longer_runs` count.
        folder: of reports on them, as ``<kind>/<experiment>/<run>.json``.
    """
    found = {}
    for experiment in EXPERIMENTS:
        runs = longer_runs(records, experiment)
        pairs = {kind: {m: simulated(own, folder / kind) for m, own in runs.items()} for kind in REMEDIES}
        pairs = {kind: {m: own for m, own in each.items() if own} for kind, each in pairs.items() if any(each.values())}
        if pairs:
            reports = {
                kind: {m: [report for _, report in own] for m, own in each.items()} for kind, each in pairs.items()
            }
            starts = [run.config for own in runs.values() for run in own]
            through = {title: adapted(records, experiment, how, starts) for title, how in ADAPTATIONS.items()}
            paths = [run.path for methods in through.values() for own in methods.values() for run in own]
            for kind, each in pairs.items():
                paths += [folder / kind / experiment / run.path.name for own in each.values() for run, _ in own]
            found[experiment] = Tried(reports, through, paths)
    return found


def with_longer(shorter: Mapping[str, Tried], longer: Mapping[str, Tried]) -> dict[str, Tried]:
    """What was tried, by title: the experiment's short one, behind it those of networks that were trained for longer.

    Args:
        shorter: by experiment, what :func:`bitslice.book.analysis.tried` gives.
        longer: likewise, what :func:`trained_longer` gives.
    """
    found = {}
    for experiment, own in shorter.items():
        title = EXPERIMENTS[experiment].short
        found[title] = own
        if experiment in longer:
            found[f"{title}, longer training"] = longer[experiment]
    return found


def schedule_finding(shorter: Sequence[Record], longer: Sequence[Record]) -> str | None:
    """In words: what a longer schedule makes of the accuracy of equal runs.

    Args:
        shorter: runs of one method at the usual schedule.
        longer: the same at a longer one.

    Returns:
        None where no seed has both.
    """
    pairs = paired(longer, shorter)
    if not pairs:
        return None
    many = spread(longer, lambda run: run.accuracy)
    more = Spread(tuple(long.accuracy - short.accuracy for long, short in pairs))
    epochs = [run.config.pretrain.epochs for run in pairs[0]]
    return (
        f"Trained for {epochs[0]} epochs, not {epochs[1]}, *{shorter[0].config.method.title}* has {many.text(2, '%')} "
        f"(n={many.n}), {more.text()} points more at equal seeds."
    )


def sparser_finding(runs: Mapping[str, Sequence[Record]]) -> str | None:
    """In words: how many times sparser than the quantized network those are that keep its accuracy.

    Args:
        runs: by method, *Quantized* among them, of equal alpha each.

    Returns:
        None where there is nothing to compare.
    """
    kept, lost = [], []
    for method, own in runs.items():
        pairs = paired(own, runs.get(Method.QUANTIZED.value, [])) if method != Method.QUANTIZED.value else []
        pairs = [pair for pair in pairs if pair[0].config.method is not Method.FLOAT]
        if not pairs:
            continue
        config = own[0].config
        name = f"*{config.method.title}*" + ("" if config.alpha is None else f" (alpha {config.alpha:g})")
        below = Spread(tuple(dense.accuracy - sparse.accuracy for sparse, dense in pairs))
        times = Spread(tuple(dense.mean_density / sparse.mean_density for sparse, dense in pairs))
        if below.mean <= KEPT:
            kept.append(f"{name} {times.text(unit='x')}, n={times.n}")
        else:
            lost.append(f"{name} loses {below.text()} points, n={below.n}")
    if not kept and not lost:
        return None
    told = f"slices are sparser by {'; '.join(kept)}" if kept else "no method has sparser slices"
    return f"At most {KEPT:g} points below *Quantized* of that length, {told}{''.join(f'; {each}' for each in lost)}."
