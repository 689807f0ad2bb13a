"""Experiments: functions that return one complete, frozen configuration, and which of their runs the book rests on."""

from dataclasses import replace
from functools import partial

from bitslice.crossbar import AdcGradient, RowOrder, adcs
from bitslice.errors import BitsliceError
from bitslice.fixed_point import Rounding
from bitslice.lab.adaptation import (
    ALLOCATED_MEANS,
    DISTILLED,
    DOUBLE,
    GAUSSIAN,
    LEVELS,
    LONGER,
    PLAIN,
    SEVEN_BITS,
    SINGLE,
    STRAIGHT,
    TWO_BIT,
    Adaptation,
)
from bitslice.lab.checks import check_seed, of_profile
from bitslice.lab.config import Config, Stage
from bitslice.lab.experiment import Experiment
from bitslice.lab.stages import finetuning, pretraining, threshold
from bitslice.lab.words import Augmentation, InputScaling, Method, Precision, Profile, RegularizerKind, Schedule
from bitslice.quantizer import check_headroom
from bitslice.slices import slice_count


def mnist(
    method: Method,
    profile: Profile = Profile.QUICK,
    seed: int = 0,
    alpha: float | None = None,
    input_scaling: InputScaling = InputScaling.UNIT,
    pretrain_alpha: float | None = None,
) -> Config:
    """MNIST with the 784-100-10 perceptron (the paper's first table).

    The ``paper`` profile has the settings of the authors' code; ``quick`` shortens it with a larger step.

    Args:
        method: what to train.
        profile: how long.
        seed: of the initialization and the data order.
        alpha: of the method, as :func:`bitslice.lab.stages.finetuning` takes it; None: the method's default, but 10
            for L1 (authors' code).
        input_scaling: how pixels enter the network.
        pretrain_alpha: weight of L1 in pre-training, 0: without it; None: 10 (authors' code).

    Raises:
        BitsliceError: as that does; if the seed is negative; if the experiment has no such profile.
    """
    epochs = of_profile("mnist", {Profile.SMOKE: (2, 1), Profile.QUICK: (10, 5), Profile.PAPER: (100, 50)}, profile)
    learning_rate = 0.01 if profile is Profile.PAPER else 0.05
    small = profile is Profile.SMOKE
    stage = Stage(epochs[0], learning_rate, 0.5, 64, RegularizerKind.L1, 10.0)
    tuned = replace(stage, epochs=epochs[1])
    return Config(
        experiment="mnist",
        network="mlp",
        method=method,
        profile=profile,
        seed=check_seed(seed),
        bits=8,
        activation_bits=8,
        rounding=Rounding.NEAREST,
        input_scaling=input_scaling,
        train_images=6000 if small else None,
        test_images=1000 if small else None,
        pretrain=pretraining(method, stage, pretrain_alpha),
        prune_threshold=threshold(method),
        finetune=finetuning(method, tuned, alpha, {Method.L1: 10.0}),
        rows=128,
        adc_images=100 if small else 1000,
    )


def cifar10(
    network: str,
    method: Method,
    profile: Profile = Profile.CPU,
    seed: int = 0,
    alpha: float | None = None,
    input_scaling: InputScaling = InputScaling.NORMALIZED,
    pretrain_alpha: float | None = None,
) -> Config:
    """CIFAR-10 with VGG-11 or ResNet-20 (the paper's second table).

    The ``paper`` profile has the settings of the authors' code. ``cpu`` reaches more in less time and departs from
    them: a one-cycle schedule of few epochs with Nesterov momentum; weight decay and a weaker L1 in pre-training.
    ``long`` is the same over four times the epochs.

    Args:
        network: ``resnet20``, ``vgg11`` or ``vgg11_bn``.
        method: what to train.
        profile: how long; there is no ``quick``.
        seed: of the initialization and the data order.
        alpha: of the method, as :func:`bitslice.lab.stages.finetuning` takes it; None: the method's default.
        input_scaling: how pixels enter the network.
        pretrain_alpha: weight of L1 in pre-training, 0: without it; None: the profile's.

    Raises:
        BitsliceError: as :func:`mnist`.
    """
    name = f"cifar10-{network.replace('_', '-')}"
    epochs = (24, 5) if network == "resnet20" else (15, 3)
    rate = 0.05 if network == "vgg11" else 0.1  # without batch norm it hardly learns at 0.1
    authors = Stage(150, 0.05, 0.9, 128, RegularizerKind.L1, 20.0, Schedule.HALVING)
    short = replace(authors, schedule=Schedule.ONE_CYCLE, nesterov=True)
    smoke = replace(short, epochs=1, batch_size=32)

    def of_length(factor: int) -> tuple[Stage, Stage]:
        first = replace(short, epochs=factor * epochs[0], learning_rate=rate, weight_decay=5e-4, alpha=5.0)
        return first, replace(short, epochs=factor * epochs[1], learning_rate=rate)

    trained, tuned = of_profile(
        name,
        {
            Profile.SMOKE: (smoke, smoke),
            Profile.CPU: of_length(1),
            Profile.LONG: of_length(4),
            Profile.PAPER: (authors, authors),
        },
        profile,
    )
    small = profile is Profile.SMOKE
    return Config(
        experiment=name,
        network=network,
        method=method,
        profile=profile,
        seed=check_seed(seed),
        bits=8,
        activation_bits=8,
        rounding=Rounding.NEAREST,
        input_scaling=input_scaling,
        train_images=256 if small else None,
        test_images=200 if small else None,
        pretrain=pretraining(method, trained, pretrain_alpha),
        prune_threshold=threshold(method),
        finetune=finetuning(method, tuned, alpha),
        rows=128,
        adc_images=2 if small else 20,
        data="cifar10",
        augmentation=Augmentation.CROP_FLIP,
        precision=Precision.FLOAT32 if profile is Profile.PAPER else Precision.BFLOAT16,
        channels_last=True,
    )


#: Prices that zero whatever lies within 2, 4, 8, 16 and 32 steps of zero.
_PRICES = (2.0, 8.0, 32.0, 128.0, 512.0)
#: Its largest tensors have steps of 2^-12: there bit-slice L1 at 0.5 pulls a weight whose B0 is set like L1 at 512.
_VGG11 = {Method.L1: (20.0, 200.0, 2000.0), Method.BL1: (0.05, 0.5, 5.0), Method.BL0: _PRICES}

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "mnist",
            "MNIST, perceptron",
            "MNIST",
            mnist,
            seeds=5,
            sweep={
                Method.L1: (1.0, 3.0, 10.0, 20.0, 30.0, 50.0, 100.0),
                Method.BL1: (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
                Method.BL0: _PRICES,
                Method.COLUMN: (2.0, 5.0, 10.0),
            },
            adapted=(
                (Method.QUANTIZED, PLAIN),
                (Method.PRUNED, PLAIN),
                (Method.BL1, PLAIN),
                (Method.BL1, Adaptation(row_order=RowOrder.CONSECUTIVE)),
                (Method.QUANTIZED, Adaptation(headroom=2)),
                (Method.BL1, Adaptation(headroom=2)),
                (Method.QUANTIZED, LEVELS),
                (Method.BL1, LEVELS),
                *((Method.QUANTIZED, how) for how in (GAUSSIAN, STRAIGHT, DOUBLE, SINGLE)),
            ),
            adapt_rate=0.2,
            adapt_rate_headroom=0.2,
            adapt_rate_levels=0.2,
            adapt_gradient=AdcGradient.SHARE,  # its network has no batch normalization
            observed_images=1000,
        ),
        Experiment(
            "cifar10-resnet20",
            "CIFAR-10, ResNet-20",
            "ResNet-20",
            partial(cifar10, "resnet20"),
            sweep={
                Method.L1: (10.0, 20.0, 50.0, 100.0),
                Method.BL1: (0.05, 0.1, 0.2, 0.5),
                Method.BL0: _PRICES,
                Method.COLUMN: (5.0, 10.0, 21.0),
            },
            adapted=(
                (Method.L1, Adaptation(headroom=2)),
                *((Method.QUANTIZED, how) for how in (LONGER, DISTILLED, *SEVEN_BITS[1:], TWO_BIT, *ALLOCATED_MEANS)),
            ),
        ),
        Experiment(
            "cifar10-vgg11", "CIFAR-10, VGG-11", "VGG-11", partial(cifar10, "vgg11"), sweep=_VGG11, observed_images=20
        ),
        Experiment(
            "cifar10-vgg11-bn",
            "CIFAR-10, VGG-11 with batch norm",
            "VGG-11 with batch norm",
            partial(cifar10, "vgg11_bn"),
            sweep=_VGG11,
            adapted=((Method.QUANTIZED, SEVEN_BITS[0]),),
            observed_images=20,
        ),
    )
}
"""Every experiment by its name."""


def adapted(config: Config, how: Adaptation = PLAIN) -> Config:
    """``config`` with a last stage that trains through ADCs, without a regularizer (:mod:`bitslice.crossbar.aware`).

    Args:
        config: of a fixed-point network.
        how: ADCs, row order, headroom, levels, and how it is trained.

    Raises:
        BitsliceError: for a float network, ADCs that do not fit the slices, or a headroom that leaves no bit.
    """
    if config.method is Method.FLOAT:
        raise BitsliceError("a float network has no slices, so ADCs do not apply")
    experiment = EXPERIMENTS[config.experiment]
    for setting in (how.adc_bits, how.adc_first):
        adcs(setting, slice_count(config.bits))
    check_headroom(how.headroom, config.bits)
    stage = replace(
        config.finetune or config.pretrain,
        epochs=how.epochs_of(config.profile),
        learning_rate=_rate(experiment, how) if how.rate is None else how.rate,
        regularizer=None,
        alpha=0.0,
        slice_price=None,
        column_weights=None,
        schedule=Schedule.ONE_CYCLE,
        adc_bits=how.adc_bits,
        adc_mean=how.adc_mean,
        row_order=how.row_order,
        headroom=how.headroom,
        adc_gradient=how.gradient or experiment.adapt_gradient,
        adc_levels=how.adc_levels,
        levels_kept=how.levels_kept,
        distilled=how.distilled,
        refined=how.refined,
        adc_first=how.adc_first,
        recalibrated=how.recalibrated,
    )
    return replace(config, adapt=stage)


def _rate(experiment: Experiment, how: Adaptation) -> float:
    """Peak of the learning rate where none is given."""
    if how.adc_levels is not None:
        return experiment.adapt_rate_levels
    return experiment.adapt_rate_headroom if how.headroom else experiment.adapt_rate


def adaptation(config: Config) -> Adaptation | None:
    """How a network of ``config`` is adapted; None: it is not."""
    stage = config.adapt
    if stage is None or stage.adc_bits is None is stage.adc_mean:
        return None
    experiment = EXPERIMENTS[config.experiment]
    how = Adaptation(
        stage.adc_bits,
        stage.adc_mean,
        stage.row_order,
        stage.headroom,
        stage.adc_levels,
        None if stage.adc_gradient is experiment.adapt_gradient else stage.adc_gradient,
        recalibrated=stage.recalibrated,
        levels_kept=stage.levels_kept,
        distilled=stage.distilled,
        refined=stage.refined,
        adc_first=stage.adc_first,
    )
    epochs = None if how.epochs_of(config.profile) == stage.epochs else stage.epochs
    rate = None if _rate(experiment, how) == stage.learning_rate else stage.learning_rate
    return replace(how, epochs=epochs, rate=rate)


def run_name(config: Config) -> str:
    """File name of a run's record: method, ``long``, alphas where they are not the default, ADCs adapted to, seed.

    >>> run_name(adapted(mnist(Method.BL1, alpha=0.2)))
    'bl1-a0.2-adc3.3.3.1-spread-s0'
    """
    parts = [config.method.value]
    standard = EXPERIMENTS[config.experiment](config.method, config.profile, config.seed)
    if config.profile is Profile.LONG:  # whose records lie beside those of the shorter schedule
        parts.append(config.profile.value)
    if config.alpha != standard.alpha:
        parts.append(f"a{config.alpha:.15g}")
    if config.pretrain.alpha != standard.pretrain.alpha:
        parts.append(f"p{config.pretrain.alpha:.15g}")
    if config.input_scaling is not standard.input_scaling:
        parts.append(config.input_scaling.value)
    how = adaptation(config)
    if how is not None:
        parts.append(how.name)
    return "-".join([*parts, f"s{config.seed}"])
