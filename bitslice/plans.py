"""Which runs the book rests on: every method at its default alpha, sweeps of alpha, networks adapted to their ADCs."""

from functools import cache

from bitslice.crossbar.geometry import RowOrder
from bitslice.experiments import CLAIMED, EXPERIMENTS, Config, Method, Profile, adapted

Sweep = dict[Method, tuple[float, ...]]

#: Prices that zero whatever lies within 2, 4, 8, 16 and 32 steps of zero.
_PRICES = (2.0, 8.0, 32.0, 128.0, 512.0)
_RESNET20_SWEEP: Sweep = {
    Method.L1: (10.0, 20.0, 50.0, 100.0),
    Method.BL1: (0.05, 0.1, 0.2, 0.5),
    Method.BL0: _PRICES,
}
#: Its largest tensors have steps of 2^-12: there bit-slice L1 at 0.5 pulls a weight whose B0 is set like L1 at 512.
_VGG11_SWEEP: Sweep = {Method.L1: (20.0, 200.0, 2000.0), Method.BL1: (0.05, 0.5, 5.0), Method.BL0: _PRICES}

#: Which networks are adapted to those ADCs, with which rows side by side and how many bits of headroom.
ADAPTED: dict[str, tuple[tuple[Method, RowOrder, int], ...]] = {
    "cifar10-resnet20": tuple(
        (method, RowOrder.SPREAD, headroom)
        for headroom in (0, 2)
        for method in (Method.QUANTIZED, Method.PRUNED, Method.L1, Method.BL1)
    ),
    "cifar10-vgg11-bn": ((Method.BL1, RowOrder.SPREAD, 2),),
    "mnist": (
        (Method.QUANTIZED, RowOrder.SPREAD, 0),
        (Method.PRUNED, RowOrder.SPREAD, 0),
        (Method.BL1, RowOrder.SPREAD, 0),
        (Method.BL1, RowOrder.CONSECUTIVE, 0),
        (Method.QUANTIZED, RowOrder.SPREAD, 2),
        (Method.BL1, RowOrder.SPREAD, 2),
    ),
}

#: Alphas of each experiment's sweep, around the defaults (which are among them).
SWEEPS: dict[str, Sweep] = {
    "cifar10-resnet20": _RESNET20_SWEEP,
    "cifar10-vgg11": _VGG11_SWEEP,
    "cifar10-vgg11-bn": _VGG11_SWEEP,
    "mnist": {
        Method.L1: (1.0, 3.0, 10.0, 20.0, 30.0, 50.0, 100.0),
        Method.BL1: (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
        Method.BL0: _PRICES,
    },
}

#: Seeds of each experiment at its default alphas, and in its sweeps; of what is adapted, three at most.
SEEDS = {"mnist": 5}


@cache
def planned(experiment: str, profile: Profile) -> dict[str, Config]:
    """An experiment's runs by name.

    >>> planned("mnist", Profile.PAPER)["bl1-a0.2-s3"].alpha
    0.2
    """
    function, seeds = EXPERIMENTS[experiment], range(SEEDS.get(experiment, 2))
    configs = [
        function(method, profile, seed=seed) for seed in seeds for method in Method if method is not Method.FLOAT
    ]
    configs += [
        function(method, profile, seed=seed, alpha=alpha)
        for seed in seeds
        for method, alphas in SWEEPS[experiment].items()
        for alpha in alphas
    ]
    configs += [
        adapted(function(method, profile, seed=seed), CLAIMED, order, headroom)
        for seed in seeds[:3]
        for method, order, headroom in ADAPTED.get(experiment, ())
    ]
    return {config.name: config for config in configs}
