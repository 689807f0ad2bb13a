"""Which records belong together: by method, alpha, seed, and what lies beside them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bitslice.errors import BitsliceError
from bitslice.lab.adaptation import PLAIN, Adaptation
from bitslice.lab.config import Config
from bitslice.lab.experiments import EXPERIMENTS, adaptation, run_name
from bitslice.lab.records import Record
from bitslice.lab.words import InputScaling, Method, Profile

T = TypeVar("T")


def select(
    records: Iterable[Record],
    experiment: str,
    method: Method,
    profile: Profile = Profile.PAPER,
    input_scaling: InputScaling | None = None,
    pretrain_alpha: float | None = None,
) -> list[Record]:
    """All runs of one method in one profile of an experiment, whatever their alpha and seed, not adapted to ADCs.

    Args:
        records: to choose from.
        experiment: by its name.
        method: what was trained.
        profile: how long.
        input_scaling: how pixels entered the network; None: as the experiment's default has it.
        pretrain_alpha: weight of L1 in pre-training; None: likewise.
    """

    def shared(c: Config) -> tuple[object, ...]:
        return c.experiment, c.method, c.profile, c.input_scaling, c.pretrain.alpha, c.adapt

    wanted = EXPERIMENTS[experiment](method, profile, input_scaling=input_scaling, pretrain_alpha=pretrain_alpha)
    return [record for record in records if shared(record.config) == shared(wanted)]


def at_defaults(config: Config) -> bool:
    """Whether a run, before it was adapted to ADCs if it was, has its experiment's default settings and length."""
    return run_name(config.before_adapting()) == f"{config.method.value}-s{config.seed}"


def adapted(
    records: Iterable[Record], experiment: str, how: Adaptation = PLAIN, starts: Collection[Config] | None = None
) -> dict[str, list[Record]]:
    """Runs of an experiment that were adapted like this, by method.

    Args:
        records: to choose from.
        experiment: by its name.
        how: they were adapted.
        starts: what they were before; None: of default settings.
    """
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (list(Method).index(r.config.method), r.config.seed)):
        config = record.config
        wanted = at_defaults(config) if starts is None else config.before_adapting() in starts
        if config.experiment == experiment and wanted and adaptation(config) == how:
            found.setdefault(config.method.value, []).append(record)
    return found


def beside(records: Iterable[Record], folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Files that ``folder`` holds on runs with their experiment's default settings, by experiment and method; where a
    method has none, on those of its largest alpha.

    Args:
        records: runs; those without a file are left out.
        folder: of files named ``<experiment>/<run>.json``.

    Raises:
        BitsliceError: if there is no such file.
    """
    experiments, methods = list(EXPERIMENTS), list(Method)
    found: dict[str, dict[str, dict[tuple[bool, float], list[Path]]]] = {}
    for record in sorted(
        records, key=lambda r: (experiments.index(r.config.experiment), methods.index(r.config.method))
    ):
        config, path = record.config, folder / record.config.experiment / record.path.name
        standard = EXPERIMENTS[config.experiment](config.method, config.profile, config.seed, config.alpha)
        if config == standard and config.profile is not Profile.LONG and path.exists():
            alphas = found.setdefault(config.experiment, {}).setdefault(config.method.value, {})
            alphas.setdefault((at_defaults(config), config.alpha or 0.0), []).append(path)
    if not found:
        raise BitsliceError(f"{folder} holds nothing on runs with default settings")
    return {name: {m: alphas[max(alphas)] for m, alphas in each.items()} for name, each in found.items()}


def read_each(
    paths: Mapping[str, Mapping[str, Sequence[Path]]], read: Callable[[Path], T]
) -> dict[str, dict[str, list[T]]]:
    """What ``read`` makes of the files that :func:`beside` found, by experiment and method."""
    return {
        experiment: {method: [read(path) for path in listed] for method, listed in methods.items()}
        for experiment, methods in paths.items()
    }


def released(records: Iterable[Record]) -> dict[str, Profile]:
    """Experiments that have records, in their order, each with the longest profile of a run :func:`at_defaults`."""
    profiles: dict[str, list[Profile]] = {name: [] for name in EXPERIMENTS}
    for record in filter(lambda run: at_defaults(run.config), records):
        profiles[record.config.experiment].append(record.config.profile)
    return {name: max(found, key=list(Profile).index) for name, found in profiles.items() if found}


def by_alpha(records: Iterable[Record]) -> dict[float, list[Record]]:
    """Runs of a sweep grouped by alpha, ascending."""
    groups: dict[float, list[Record]] = defaultdict(list)
    for record in records:
        if record.config.alpha is not None:
            groups[record.config.alpha].append(record)
    return dict(sorted(groups.items()))


def by_seed(records: Iterable[Record]) -> dict[int, list[Record]]:
    """Runs grouped by seed, ascending."""
    groups: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.config.seed].append(record)
    return dict(sorted(groups.items()))


def sweeps(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> dict[str, list[Record]]:
    """All runs of every method that has an alpha, by the method's name; one without records is left out, and so is
    column pruning, which bounds sums and does not seek sparsity."""
    found = {method.value: select(records, experiment, method, profile) for method in Method if not method.columns}
    return {method: runs for method, runs in found.items() if by_alpha(runs)}


def swept(records: Iterable[Record]) -> list[Record]:
    """The runs of those seeds that have more than one, whose alphas differ."""
    return [run for runs in by_seed(records).values() if len(runs) > 1 for run in runs]


def at_default_alpha(records: Iterable[Record]) -> list[Record]:
    """The runs whose alpha is their experiment's default, the authors' where they have one; one a seed."""

    def default(config: Config) -> float | None:
        return EXPERIMENTS[config.experiment](config.method, config.profile).alpha

    return [record for record in records if record.config.alpha == default(record.config)]


def by_method(records: Sequence[Record], experiment: str, profile: Profile = Profile.PAPER) -> dict[str, list[Record]]:
    """An experiment's runs by method, each at its default alpha; methods without runs are left out."""
    runs = {m.value: at_default_alpha(select(records, experiment, m, profile)) for m in Method}
    return {method: own for method, own in runs.items() if own}


def at_alpha(records: Iterable[Record], alpha: float) -> list[Record]:
    """The runs of a sweep with one alpha, one a seed.

    Raises:
        BitsliceError: if there is none, naming the alphas there are.
    """
    groups = by_alpha(records)
    if alpha not in groups:
        raise BitsliceError(f"no runs with alpha {alpha:g}; there are {', '.join(f'{a:g}' for a in groups) or 'none'}")
    return groups[alpha]


def paired(a: Iterable[Record], b: Iterable[Record]) -> list[tuple[Record, Record]]:
    """Runs of two methods that share a seed."""
    ours = {record.config.seed: record for record in b}
    return [(record, ours[record.config.seed]) for record in a if record.config.seed in ours]
