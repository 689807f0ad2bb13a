"""Experiments: functions that return one complete, frozen configuration.

Everything a run depends on stands in its :class:`Config`, and the run's record repeats it whole.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from bitslice.errors import BitsliceError
from bitslice.quantizer import Rounding
from bitslice.regularizers import RegularizerKind


class Method(enum.Enum):
    """What is trained; the last three are the rows of the paper's tables."""

    QUANTIZED = "quantized"
    """Pre-trained fixed-point network, not pruned: the start of the other three."""
    PRUNED = "pruned"
    """Pruned once by magnitude, then fine-tuned without a regularizer."""
    L1 = "l1"
    """Pruned, then fine-tuned with L1."""
    BL1 = "bl1"
    """Pruned, then fine-tuned with bit-slice L1."""


class Profile(enum.Enum):
    """How long an experiment trains."""

    SMOKE = "smoke"
    """Seconds, on a corner of the data: for tests only."""
    QUICK = "quick"
    """Minutes: a first look at the effect."""
    PAPER = "paper"
    """The schedule of the authors' code."""


class InputScaling(enum.Enum):
    """What the pixel values 0..255 become before they enter the network."""

    UNIT = "unit"
    """[0, 1]: never negative, so one pass of the bit-serial input suffices and dark pixels fire no wordline."""
    NORMALIZED = "normalized"
    """Mean 0, variance 1 over the training set (authors' code): signed, and every wordline fires."""


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

    @property
    def alpha(self) -> float | None:
        """Weight of the method's own regularizer; None for a method without one."""
        return self.finetune.alpha if self.finetune and self.finetune.regularizer else None

    @property
    def name(self) -> str:
        """File name of the run's record: method, alpha where it is not the experiment's default, seed."""
        parts = [self.method.value]
        standard = EXPERIMENTS[self.experiment](self.method, self.profile, self.seed)
        if self.alpha != standard.alpha:
            parts.append(f"a{self.alpha:.15g}")
        if self.input_scaling is not standard.input_scaling:
            parts.append(self.input_scaling.value)
        return "-".join([*parts, f"s{self.seed}"])

    def pretrained(self) -> "Config":
        """Configuration of the pre-trained network that this run starts from."""
        return replace(self, method=Method.QUANTIZED, prune_threshold=None, finetune=None)

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
        """Inverse of :meth:`to_dict`."""

        def stage(fields: dict[str, Any] | None) -> Stage | None:
            if fields is None:
                return None
            kind = fields["regularizer"]
            return Stage(**{**fields, "regularizer": None if kind is None else RegularizerKind(kind)})

        enums = {"method": Method, "profile": Profile, "rounding": Rounding, "input_scaling": InputScaling}
        converted: dict[str, Any] = {key: enums[key](value) if key in enums else value for key, value in values.items()}
        converted |= {name: stage(values[name]) for name in ("pretrain", "finetune")}
        return cls(**converted)


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
        alpha: weight of the method's regularizer; None: the authors' default (L1 10, bit-slice L1 0.5).
        input_scaling: how pixels enter the network.

    Raises:
        BitsliceError: if alpha is negative, not a number, or given for a method without a regularizer; if the seed is
            negative.
    """
    kind = {Method.L1: RegularizerKind.L1, Method.BL1: RegularizerKind.BIT_SLICE_L1}.get(method)
    default = {Method.L1: 10.0, Method.BL1: 0.5}.get(method, 0.0)
    if alpha is not None and kind is None:
        raise BitsliceError(f"method {method.value} has no regularizer, so alpha does not apply")
    chosen = default if alpha is None else check_alpha(alpha)
    epochs = {Profile.SMOKE: (2, 1), Profile.QUICK: (10, 5), Profile.PAPER: (100, 50)}[profile]
    learning_rate = 0.01 if profile is Profile.PAPER else 0.05
    small = profile is Profile.SMOKE
    trained = Stage(epochs[0], learning_rate, 0.5, 64, RegularizerKind.L1, 10.0)
    tuned = Stage(epochs[1], learning_rate, 0.5, 64, kind, chosen)
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
        pretrain=trained,
        prune_threshold=None if method is Method.QUANTIZED else 0.01,
        finetune=None if method is Method.QUANTIZED else tuned,
        rows=128,
        adc_images=100 if small else 1000,
    )


Experiment = Callable[..., Config]

EXPERIMENTS: dict[str, Experiment] = {"mnist": mnist}

#: Alphas of each experiment's sweep, around the authors' defaults (which are among them).
SWEEPS: dict[str, dict[Method, tuple[float, ...]]] = {
    "mnist": {Method.L1: (1.0, 3.0, 10.0, 20.0, 30.0, 50.0, 100.0), Method.BL1: (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)},
}
