"""Experiments: functions that return one complete, frozen configuration.

Everything a run depends on stands in its :class:`Config`, and the run's record repeats it whole.
"""

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from bitslice.crossbar.adc import AdcSetting, adc_word, adcs, from_json
from bitslice.crossbar.aware import AdcGradient
from bitslice.crossbar.geometry import RowOrder
from bitslice.errors import BitsliceError
from bitslice.quantizer import Rounding, check_headroom
from bitslice.regularizers import RegularizerKind
from bitslice.slices import slice_count

T = TypeVar("T")


class Method(enum.Enum):
    """What is trained. Pruned, L1 and bit-slice L1 are the rows of the paper's tables; bit-slice L0 is ours."""

    FLOAT = "float"
    """Pre-trained in float, without a regularizer: what quantization itself costs."""
    QUANTIZED = "quantized"
    """Pre-trained fixed-point network, not pruned: the start of the others."""
    PRUNED = "pruned"
    """Pruned once by magnitude, then fine-tuned without a regularizer."""
    L1 = "l1"
    """Pruned, then fine-tuned with L1."""
    BL1 = "bl1"
    """Pruned, then fine-tuned with bit-slice L1."""
    BL0 = "bl0"
    """Pruned, then fine-tuned with a quantizer that charges for non-zero slices (:mod:`bitslice.proximal`)."""

    @property
    def finetunes(self) -> bool:
        """Whether the method prunes and fine-tunes a pre-trained network."""
        return self not in (Method.FLOAT, Method.QUANTIZED)


class Profile(enum.Enum):
    """How long an experiment trains."""

    SMOKE = "smoke"
    """Seconds, on a corner of the data: for tests only."""
    QUICK = "quick"
    """Minutes: a first look at the effect."""
    CPU = "cpu"
    """Shortened for a CPU: a modern schedule of few epochs, for the networks that need a GPU otherwise."""
    PAPER = "paper"
    """The schedule of the authors' code."""


class InputScaling(enum.Enum):
    """What the pixel values 0..255 become before they enter the network."""

    UNIT = "unit"
    """[0, 1]: never negative, so one pass of the bit-serial input suffices and dark pixels fire no wordline."""
    NORMALIZED = "normalized"
    """Mean 0, variance 1 over the training set (authors' code): signed, and every wordline fires."""


class Augmentation(enum.Enum):
    """What happens to a training image each time it is shown."""

    NONE = "none"
    """Nothing."""
    CROP_FLIP = "crop_flip"
    """A random crop after padding with 4 black pixels, and the mirror image half the time (authors' code)."""


class Precision(enum.Enum):
    """Arithmetic of a training step; weights, scales, regularizers and every evaluation are float32 in either."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Autocast: layers compute in bfloat16, whose 8 significant bits hold every 8-bit code exactly."""


class Schedule(enum.Enum):
    """How the learning rate moves while a stage trains."""

    CONSTANT = "constant"
    HALVING = "halving"
    """Half of it after every 30 epochs (authors' code, CIFAR-10)."""
    ONE_CYCLE = "one_cycle"
    """Linear, from 0 up over the first fifth of the stage, then down to 0."""

    def factor(self, epoch: float, epochs: int) -> float:
        """What the stage's learning rate is multiplied by after ``epoch`` (with its fraction) of ``epochs``.

        >>> [Schedule.HALVING.factor(epoch, 150) for epoch in (29.9, 30, 60)]
        [1.0, 0.5, 0.25]
        >>> [Schedule.ONE_CYCLE.factor(epoch, 10) for epoch in (1, 2, 6)]
        [0.5, 1.0, 0.5]
        """
        if self is Schedule.HALVING:
            return float(0.5 ** (epoch // 30))
        if self is Schedule.ONE_CYCLE:
            return min(5 * epoch / epochs, 1.25 * (1 - epoch / epochs))
        return 1.0


@dataclass(frozen=True)
class Stage:
    """One stretch of SGD training."""

    epochs: int
    learning_rate: float
    momentum: float
    batch_size: int
    regularizer: RegularizerKind | None
    alpha: float
    """Weight of the regularizer in the loss; 0 without one."""
    schedule: Schedule = Schedule.CONSTANT
    nesterov: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    """Share of the target probability spread evenly over all classes."""
    slice_price: float | None = None
    """What the quantizer charges for a non-zero slice, in steps squared; None: nothing, the paper's quantizer."""
    adc_bits: AdcSetting | None = None
    """ADC of every slice, B0 first, that the forward pass goes through; None: exact products."""
    row_order: RowOrder = RowOrder.CONSECUTIVE
    """Which wordlines share an array, where the forward pass goes through ADCs."""
    adc_gradient: AdcGradient = AdcGradient.SHARE
    """What the backward pass makes of those ADCs."""
    headroom: int = 0
    """Highest bits of every weight's word that stay 0 (:func:`bitslice.quantizer.leave_headroom`)."""


@dataclass(frozen=True)
class Config:
    """Everything one training run depends on."""

    experiment: str
    network: str
    method: Method
    profile: Profile
    seed: int
    bits: int
    """Magnitude bits of weights and biases."""
    activation_bits: int
    """Magnitude bits of every layer's input."""
    rounding: Rounding
    input_scaling: InputScaling
    train_images: int | None
    """Train on the first so many images; None: all."""
    test_images: int | None
    """Test on the first so many images; None: all."""
    pretrain: Stage
    prune_threshold: float | None
    """Elements below this magnitude are pruned before fine-tuning; None: the run ends after pre-training."""
    finetune: Stage | None
    rows: int
    """Wordlines of a crossbar, for the ADC statistics."""
    adc_images: int
    """Test images whose bitline sums are observed."""
    data: str = "mnist"
    """Data set, by its name in ``training.DATA_SETS``."""
    augmentation: Augmentation = Augmentation.NONE
    precision: Precision = Precision.FLOAT32
    channels_last: bool = False
    """Whether images lie in memory with their channels innermost, which convolutions run faster on."""
    adapt: Stage | None = None
    """Last stage, from the integer weights of the run without it, through ADCs; None: none."""

    @property
    def alpha(self) -> float | None:
        """Weight of the method's own regularizer, or its price of a slice; None for a method without either."""
        if self.finetune is None:
            return None
        return self.finetune.alpha if self.finetune.regularizer else self.finetune.slice_price

    @property
    def name(self) -> str:
        """File name of the run's record: method, alpha where it is not the default, ADCs adapted to, seed."""
        parts = [self.method.value]
        standard = EXPERIMENTS[self.experiment](self.method, self.profile, self.seed)
        if self.alpha != standard.alpha:
            parts.append(f"a{self.alpha:.15g}")
        if self.input_scaling is not standard.input_scaling:
            parts.append(self.input_scaling.value)
        if self.adapt is not None and self.adapt.adc_bits is not None:
            parts.append("adc" + ".".join(adc_word(adc) for adc in self.adapt.adc_bits))
            if self.adapt.row_order is not RowOrder.CONSECUTIVE:
                parts.append(self.adapt.row_order.value)
            if self.adapt.headroom:
                parts.append(f"h{self.adapt.headroom}")
        return "-".join([*parts, f"s{self.seed}"])

    def pretrained(self) -> "Config":
        """Configuration of the pre-trained network that this run starts from."""
        return replace(self, method=Method.QUANTIZED, prune_threshold=None, finetune=None, adapt=None)

    def before_adapting(self) -> "Config":
        """Configuration of the network whose integer weights a run that adapts to ADCs starts from."""
        return replace(self, adapt=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, enums by value."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            return value.value if isinstance(value, enum.Enum) else value

        converted: dict[str, Any] = plain(asdict(self))
        return converted

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        """Inverse of :meth:`to_dict`; a field that is absent, as in records older than it, has its default."""

        enums: dict[str, type[enum.Enum]] = {
            "method": Method,
            "profile": Profile,
            "rounding": Rounding,
            "input_scaling": InputScaling,
            "augmentation": Augmentation,
            "precision": Precision,
            "regularizer": RegularizerKind,
            "schedule": Schedule,
            "row_order": RowOrder,
            "adc_gradient": AdcGradient,
        }

        def with_enums(fields: dict[str, Any]) -> dict[str, Any]:
            return {k: enums[k](v) if k in enums and v is not None else v for k, v in fields.items()}

        def stage(fields: dict[str, Any] | None) -> Stage | None:
            if fields is None:
                return None
            adc_bits = fields.get("adc_bits")
            return Stage(**{**with_enums(fields), "adc_bits": None if adc_bits is None else from_json(adc_bits)})

        stages = {name: stage(values.get(name)) for name in ("pretrain", "finetune", "adapt")}
        return cls(**{**with_enums(values), **stages})


def differing_fields(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """Where two configurations differ, as ``field is X, not Y`` with X the value in ``theirs``."""
    found = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_fields(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {b!r}, not {a!r}")
    return sorted(found)


def check_alpha(alpha: float) -> float:
    """Raise unless ``alpha`` is a finite number >= 0."""
    if not math.isfinite(alpha) or alpha < 0:
        raise BitsliceError(f"alpha must be a finite number, 0 or larger, not {alpha}")
    return alpha


def check_seed(seed: int) -> int:
    """Raise unless every generator takes ``seed``."""
    if not 0 <= seed < 2**63:
        raise BitsliceError(f"seed must lie between 0 and 2^63 - 1, not {seed}")
    return seed


def finetuning(method: Method, stage: Stage, alpha: float | None, defaults: Mapping[Method, float]) -> Stage | None:
    """A method's second stage: ``stage`` with the method's own regularizer, or none, in place of the first stage's.

    Args:
        method: what is trained.
        stage: how.
        alpha: weight of the regularizer, or price of a slice; None: what ``defaults`` say.
        defaults: of every method that has an alpha.

    Raises:
        BitsliceError: if alpha is negative, not a number, or given for a method without a regularizer.
    """
    if alpha is not None and method not in defaults:
        raise BitsliceError(f"method {method.value} has no regularizer, so alpha does not apply")
    if not method.finetunes:
        return None
    chosen = defaults.get(method, 0.0) if alpha is None else check_alpha(alpha)
    if method is Method.BL0:
        return replace(stage, regularizer=None, alpha=0.0, slice_price=chosen)
    kind = {Method.L1: RegularizerKind.L1, Method.BL1: RegularizerKind.BIT_SLICE_L1}.get(method)
    return replace(stage, regularizer=kind, alpha=chosen)


def pretraining(method: Method, stage: Stage) -> Stage:
    """A method's first stage; a float baseline trains without the regularizer of fixed-point pre-training."""
    return replace(stage, regularizer=None, alpha=0.0) if method is Method.FLOAT else stage


def adapted(config: Config, adc_bits: AdcSetting, row_order: RowOrder = RowOrder.SPREAD, headroom: int = 0) -> Config:
    """``config`` with a last stage that trains through ADCs, without a regularizer (:mod:`bitslice.crossbar.aware`).

    Args:
        config: of a fixed-point network.
        adc_bits: ADC of every slice, B0 first.
        row_order: which wordlines share an array.
        headroom: highest bits of every weight's word that stay 0.

    Raises:
        BitsliceError: for a float network, ADCs that do not fit the slices, or a headroom that leaves no bit.
    """
    if config.method is Method.FLOAT:
        raise BitsliceError("a float network has no slices, so ADCs do not apply")
    adcs(adc_bits, slice_count(config.bits))
    check_headroom(headroom, config.bits)
    epochs = {Profile.SMOKE: 1, Profile.QUICK: 2, Profile.CPU: 2 if headroom else 5, Profile.PAPER: 10}[config.profile]
    cifar_rate = 0.005 if headroom else 0.02
    stage = replace(
        config.finetune or config.pretrain,
        epochs=epochs,
        learning_rate=0.2 if config.experiment == "mnist" else cifar_rate,
        regularizer=None,
        alpha=0.0,
        slice_price=None,
        schedule=Schedule.ONE_CYCLE,
        adc_bits=adc_bits,
        row_order=row_order,
        headroom=headroom,
        # MNIST's network has no batch normalization.
        adc_gradient=AdcGradient.SHARE if config.experiment == "mnist" else AdcGradient.STRAIGHT_THROUGH,
    )
    return replace(config, adapt=stage)


def of_profile(experiment: str, choices: dict[Profile, T], profile: Profile) -> T:
    """What ``choices`` hold for ``profile``.

    Raises:
        BitsliceError: if the experiment has no such profile, naming those it has.
    """
    if profile not in choices:
        names = ", ".join(choice.value for choice in choices)
        raise BitsliceError(f"{experiment} has no profile {profile.value!r}; choose from {names}")
    return choices[profile]


def mnist(
    method: Method,
    profile: Profile = Profile.QUICK,
    seed: int = 0,
    alpha: float | None = None,
    input_scaling: InputScaling = InputScaling.UNIT,
) -> Config:
    """MNIST with the 784-100-10 perceptron (the paper's first table).

    The ``paper`` profile has the settings of the authors' code; ``quick`` shortens it with a larger step.

    Args:
        method: what to train.
        profile: how long.
        seed: of the initialization and the data order.
        alpha: weight of the method's regularizer; None: the authors' default (L1 10, bit-slice L1 0.5), or ours
            (bit-slice L0 32).
        input_scaling: how pixels enter the network.

    Raises:
        BitsliceError: if alpha is negative, not a number, or given for a method without a regularizer; if the seed is
            negative; if the experiment has no such profile.
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
        pretrain=pretraining(method, stage),
        prune_threshold=0.01 if method.finetunes else None,
        finetune=finetuning(method, tuned, alpha, {Method.L1: 10.0, Method.BL1: 0.5, Method.BL0: 32.0}),
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
) -> Config:
    """CIFAR-10 with VGG-11 or ResNet-20 (the paper's second table).

    The ``paper`` profile has the settings of the authors' code. ``cpu`` reaches more in less time and departs from
    them: a one-cycle schedule of few epochs with Nesterov momentum; weight decay and a weaker L1 in pre-training.

    Args:
        network: ``resnet20``, ``vgg11`` or ``vgg11_bn``.
        method: what to train.
        profile: how long; there is no ``quick``.
        seed: of the initialization and the data order.
        alpha: weight of the method's regularizer; None: the authors' default (L1 20, bit-slice L1 0.5), or ours
            (bit-slice L0 32).
        input_scaling: how pixels enter the network.

    Raises:
        BitsliceError: as :func:`mnist`.
    """
    name = f"cifar10-{network.replace('_', '-')}"
    epochs = (24, 5) if network == "resnet20" else (15, 3)
    authors = Stage(150, 0.05, 0.9, 128, RegularizerKind.L1, 20.0, Schedule.HALVING)
    short = replace(authors, schedule=Schedule.ONE_CYCLE, nesterov=True)
    smoke = replace(short, epochs=1, batch_size=32)
    trained, tuned = of_profile(
        name,
        {
            Profile.SMOKE: (smoke, smoke),
            Profile.CPU: (
                replace(short, epochs=epochs[0], learning_rate=0.1, weight_decay=5e-4, alpha=5.0),
                replace(short, epochs=epochs[1], learning_rate=0.1),
            ),
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
        pretrain=pretraining(method, trained),
        prune_threshold=0.01 if method.finetunes else None,
        finetune=finetuning(method, tuned, alpha, {Method.L1: 20.0, Method.BL1: 0.5, Method.BL0: 32.0}),
        rows=128,
        adc_images=2 if small else 20,
        data="cifar10",
        augmentation=Augmentation.CROP_FLIP,
        precision=Precision.FLOAT32 if profile is Profile.PAPER else Precision.BFLOAT16,
        channels_last=True,
    )


Experiment = Callable[..., Config]

EXPERIMENTS: dict[str, Experiment] = {
    "mnist": mnist,
    "cifar10-resnet20": partial(cifar10, "resnet20"),
    "cifar10-vgg11": partial(cifar10, "vgg11"),
    "cifar10-vgg11-bn": partial(cifar10, "vgg11_bn"),
}

#: ADC resolutions that the paper's abstract names, B0 first.
CLAIMED = (3, 3, 3, 1)
