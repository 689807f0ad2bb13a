"""The words that configurations are written in: methods, profiles, and how inputs, steps and rates are chosen."""

import enum

from torch import nn

from bitslice.regularizers import L1, BitSliceL1, Regularizer


class RegularizerKind(enum.Enum):
    """Which regularizer a training stage adds to its loss."""

    L1 = "l1"
    """Elementwise L1."""
    BIT_SLICE_L1 = "bl1"
    """The paper's bit-slice L1."""

    def build(self, model: nn.Module) -> Regularizer:
        """The regularizer of this kind for a quantized ``model``."""
        return L1(model) if self is RegularizerKind.L1 else BitSliceL1(model)


class Method(enum.Enum):
    """What is trained. Pruned, L1 and bit-slice L1 are the rows of the paper's tables; bit-slice L0 is ours, column
    pruning a rival's.

    Attributes:
        title: as tables and figures print it.
        finetunes: whether it prunes a pre-trained network and trains it further.
        regularizer: that fine-tuning adds to the loss.
        charges: whether fine-tuning's quantizer charges for non-zero slices.
        alpha: its default: weight of the regularizer (the authors', for CIFAR-10), price of a slice, or weights that a
            column keeps.
        columns: whether it prunes by column in place of by threshold.
    """

    title: str
    finetunes: bool
    regularizer: RegularizerKind | None
    charges: bool
    alpha: float | None
    columns: bool

    def __new__(
        cls,
        value: str,
        title: str,
        finetunes: bool = True,
        regularizer: RegularizerKind | None = None,
        charges: bool = False,
        alpha: float | None = None,
        columns: bool = False,
    ) -> "Method":
        member = object.__new__(cls)
        member._value_ = value
        member.title, member.finetunes, member.regularizer = title, finetunes, regularizer
        member.charges, member.alpha, member.columns = charges, alpha, columns
        return member

    FLOAT = "float", "Float", False
    """Pre-trained in float, without a regularizer: what quantization itself costs."""
    QUANTIZED = "quantized", "Quantized", False
    """Pre-trained fixed-point network, not pruned: the start of the others."""
    PRUNED = "pruned", "Pruned"
    """Pruned once by magnitude, then fine-tuned without a regularizer."""
    L1 = "l1", "L1", True, RegularizerKind.L1, False, 20.0
    """Pruned, then fine-tuned with L1."""
    BL1 = "bl1", "Bit-slice L1", True, RegularizerKind.BIT_SLICE_L1, False, 0.5
    """Pruned, then fine-tuned with bit-slice L1."""
    BL0 = "bl0", "Bit-slice L0 (ours)", True, None, True, 32.0
    """Pruned, then fine-tuned with a quantizer that charges for non-zero slices (:mod:`bitslice.proximal`)."""
    COLUMN = "column", "Column pruning", True, None, False, 5.0, True
    """Pruned so that every column of an array holds few weights, then fine-tuned without a regularizer: the constraint
    of TinyADC (Yuan et al., DATE 2021). They reach it by ADMM; here it is imposed once, on a network trained without
    it, as the other methods prune (:mod:`bitslice.lab.columns`)."""


class Profile(enum.Enum):
    """How long an experiment trains."""

    SMOKE = "smoke"
    """Seconds, on a corner of the data: for tests only."""
    QUICK = "quick"
    """Minutes: a first look at the effect."""
    CPU = "cpu"
    """Shortened for a CPU: a modern schedule of few epochs, for the networks that need a GPU otherwise."""
    LONG = "long"
    """The same schedule over four times the epochs: hours on a CPU, to reach the accuracies of the field."""
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
