"""Which runs the book rests on: every method at its default alpha, sweeps of alpha, networks adapted to their ADCs; and
the options of ``bitslice train`` that stand for a run."""

from functools import cache

from bitslice.crossbar import adc_word
from bitslice.errors import BitsliceError
from bitslice.lab.checks import differing_fields
from bitslice.lab.config import Config
from bitslice.lab.experiments import EXPERIMENTS, adaptation, adapted, run_name
from bitslice.lab.names import by_name
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
    configs += [adapted(chosen(method, profile, seed), how) for seed in seeds[:3] for method, how in chosen.adapted]
    return {run_name(config): config for config in configs}


def again(config: Config) -> Config:
    """What the :func:`options` of ``config`` stand for today: another configuration if its experiment has changed.

    Raises:
        BitsliceError: if there is no such experiment or profile any more.
    """
    experiment = by_name("experiment", EXPERIMENTS, config.experiment)
    made = experiment(
        config.method, config.profile, config.seed, config.alpha, config.input_scaling, config.pretrain.alpha
    )
    how = adaptation(config)
    return made if how is None else adapted(made, how)


def options(config: Config) -> str:
    """Options of ``bitslice train EXPERIMENT`` for a run, but for its profile.

    >>> options(planned("mnist", Profile.PAPER)["bl1-a0.2-s3"])
    '--method bl1 --seed 3 --alpha 0.2'
    """
    words = [f"--method {config.method.value} --seed {config.seed}"]
    if config.alpha is not None:
        words.append(f"--alpha {config.alpha!r}")
    standard = EXPERIMENTS[config.experiment](config.method, config.profile)
    if config.pretrain.alpha != standard.pretrain.alpha:
        words.append(f"--pretrain-alpha {config.pretrain.alpha!r}")
    if config.input_scaling is not standard.input_scaling:
        words.append(f"--input-scaling {config.input_scaling.value}")
    how = adaptation(config)
    if how is not None:
        named = ",".join(map(adc_word, how.adc_bits or ()))
        words.append(f"--adc-bits {named}" if how.adc_mean is None else f"--adc-mean {how.adc_mean!r}")
        if how.adc_first is not None:
            words.append(f"--adc-first {','.join(map(adc_word, how.adc_first))}")
        words.append(f"--row-order {how.row_order.value} --headroom {how.headroom}")
        if how.adc_levels is not None:
            words.append(f"--adc-levels {how.adc_levels}{' --adc-levels-kept' * how.levels_kept}")
        if how.distilled:
            words.append("--adc-distilled")
        if how.gradient is not None:
            words.append(f"--adc-gradient {how.gradient.value}")
        if how.epochs is not None:
            words.append(f"--adc-epochs {how.epochs}")
        if how.rate is not None:
            words.append(f"--adc-rate {how.rate!r}")
        if how.refined is not None:
            words.append(f"--adc-refine {how.refined}")
        if how.recalibrated is not None:
            words.append(f"--adc-recalibrate {how.recalibrated}")
    return " ".join(words)


def command(config: Config, threads: int = 1, compiled: bool = False) -> str:
    """The command that trains a run.

    Args:
        config: of the run.
        threads: CPU threads.
        compiled: whether it goes through ``torch.compile``.

    Raises:
        BitsliceError: if no command stands for ``config`` since its experiment has changed, naming the fields.
    """
    if differences := differing_fields(again(config).to_dict(), config.to_dict()):
        raise BitsliceError(f"no command makes this configuration today: {'; '.join(differences)}")
    words = f"bitslice train {config.experiment} {options(config)} --profile {config.profile.value} --threads {threads}"
    return words + " --compile" * compiled
