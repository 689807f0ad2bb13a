"""Which runs the book rests on: every method at its default alpha, sweeps of alpha, networks adapted to their ADCs."""

from functools import cache

from bitslice.lab.config import Config
from bitslice.lab.experiments import CLAIMED, EXPERIMENTS, adapted, run_name
from bitslice.lab.words import Method, Profile


@cache
def planned(experiment: str, profile: Profile) -> dict[str, Config]:
    """An experiment's runs by name.

    >>> planned("mnist", Profile.PAPER)["bl1-a0.2-s3"].alpha
    0.2
    """
    chosen = EXPERIMENTS[experiment]
    seeds = range(chosen.seeds)
    configs = [chosen(method, profile, seed) for seed in seeds for method in Method if method is not Method.FLOAT]
    configs += [
        chosen(method, profile, seed, alpha)
        for seed in seeds
        for method, alphas in chosen.sweep.items()
        for alpha in alphas
    ]
    configs += [
        adapted(chosen(method, profile, seed), CLAIMED, order, headroom)
        for seed in seeds[:3]
        for method, order, headroom in chosen.adapted
    ]
    return {run_name(config): config for config in configs}
