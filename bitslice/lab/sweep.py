"""Sweeps: a grid of runs, described in a TOML file, trained and simulated by the engine, gathered in one tidy table.

Every key but ``experiments`` and ``methods`` may be left out::

    experiments = ["mnist"]
    methods = ["pruned", "l1", "bl1"]
    alphas = [0.1, 0.5, 1.0]         # of methods that have one; none: each method's default
    seeds = [0, 1, 2]                # default 0 alone
    profile = "quick"                # how long they train; this is the default
    adc_bits = ["3,3,3,1", "4,4,4,2"]  # ADCs that every trained network is simulated with; none: no simulation
    images = 1000                    # test images that simulations classify; none: all
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitslice.crossbar import AdcSetting, adc_setting, adcs, setting_name
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab import records, report
from bitslice.lab.config import Config
from bitslice.lab.experiments import EXPERIMENTS, run_name
from bitslice.lab.names import by_name, by_value
from bitslice.lab.words import Method, Profile
from bitslice.slices import slice_count

KINDS: Mapping[str, type | tuple[type, ...]] = {
    "experiments": str,
    "methods": str,
    "alphas": (int, float),
    "seeds": int,
    "adc_bits": str,
    "profile": str,
    "images": int,
}
"""Keys of the file, with what they take, or lists of it; the last two take one."""


@dataclass(frozen=True)
class Sweep:
    """A grid.

    Attributes:
        configs: every run by its experiment and name.
        profile: how long they train.
        adc_bits: ADCs of every simulation; none: nothing is simulated.
        images: test images of simulations; None: all.
    """

    configs: Mapping[tuple[str, str], Config]
    profile: Profile
    adc_bits: tuple[AdcSetting, ...]
    images: int | None

    def of(self, experiment: str, profile: Profile) -> dict[str, Config]:
        """Its runs of one experiment and profile, by name."""
        return {name: c for (e, name), c in self.configs.items() if (e, self.profile) == (experiment, profile)}


def read(path: Path) -> Sweep:
    """A sweep from its file.

    Raises:
        BitsliceError: if there is none, or it asks for what there is not.
    """
    try:
        given = tomllib.loads(path.read_text())
    except OSError as error:
        raise BitsliceError(f"no sweep at {path}: {error.strerror}") from error
    except ValueError as error:
        raise BitsliceError(f"{path} is not TOML: {error}") from error
    for key, value in given.items():
        wanted = by_name("key of a sweep", KINDS, key)
        listed = value if isinstance(value, list) and key not in {"profile", "images"} else [value]
        if not listed or any(not isinstance(each, wanted) or isinstance(each, bool) for each in listed):
            raise BitsliceError(f"{path}: {key} does not take {value!r}")
        given[key] = listed
    if missing := {"experiments", "methods"} - given.keys():
        raise BitsliceError(f"{path} does not say which {' and '.join(sorted(missing))}")
    profile = by_value(Profile, given.get("profile", ["quick"])[0])
    adc_bits = tuple(map(adc_setting, given.get("adc_bits", [])))
    configs = {_key(config): config for config in _grid(given, profile)}
    for setting in adc_bits:
        for bits in {config.bits for config in configs.values()}:
            adcs(setting, slice_count(bits))
    (images,) = given.get("images", [None])
    if images is not None and images < 1:
        raise BitsliceError(f"{path}: a simulation needs images, not {images}")
    return Sweep(configs, profile, adc_bits, images)


def _key(config: Config) -> tuple[str, str]:
    return config.experiment, run_name(config)


def _grid(given: Mapping[str, list[Any]], profile: Profile) -> Iterator[Config]:
    for name in given["experiments"]:
        experiment = by_name("experiment", EXPERIMENTS, name)
        for word in given["methods"]:
            method = by_value(Method, word)
            if method is Method.FLOAT:
                raise BitsliceError("a float network has no slices, so no sweep trains one")
            for alpha in given.get("alphas", [None]) if method.alpha is not None else [None]:
                for seed in given.get("seeds", [0]):
                    yield experiment(method, profile, seed, None if alpha is None else float(alpha))


def rows(sweep: Sweep, runs: Path, reports: Path) -> Iterator[dict[str, Any]]:
    """The tidy table: one row a run and ADC setting, or a run where nothing is simulated.

    Args:
        sweep: whose runs are gathered.
        runs: folder of ``<experiment>/<profile>/<run>.json``, the records.
        reports: likewise, of simulations.

    Raises:
        BitsliceError: if one of them is missing.
    """
    for experiment, name in sweep.configs:
        place = Path(experiment, sweep.profile.value, f"{name}.json")
        record = records.read(runs / place)
        density = dict(zip(("density_b3", "density_b2", "density_b1", "density_b0"), record.density, strict=True))
        own = {key: value for key, value in record.summary().items() if key not in {"density", "path"}} | density
        own |= {"train_seconds": record.provenance["wall_seconds"], "record": record.path.as_posix()}
        if not sweep.adc_bits:
            yield own
            continue
        simulated = report.read(reports / place)
        for setting in simulated.settings:
            clipped = {f"clipped_b{k}": share for k, share in enumerate(setting.clipped)}
            costs = {"energy": setting.energy, "latency": setting.latency, "area": setting.area}
            adcs = {"adc_bits": setting_name(setting.adc_bits), "adc_accuracy": setting.accuracy}
            yield own | adcs | clipped | costs | {"simulated_images": simulated.images}


def write_table(table: list[dict[str, Any]], path: Path) -> None:
    """Write rows as CSV and, beside it, as Parquet, each in one step; what a row lacks is empty."""
    import fastparquet
    import pandas as pd

    frame = pd.DataFrame(table)
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
    with atomic_write(path.with_suffix(".parquet")) as temporary:
        fastparquet.write(str(temporary), frame, write_index=False)
