"""One complete, frozen configuration: everything a training run depends on; its record repeats it whole."""

import enum
from dataclasses import asdict, dataclass, replace
from typing import Any

from bitslice.crossbar import AdcGradient, AdcSetting, RowOrder
from bitslice.fixed_point import Rounding
from bitslice.lab.checks import checked
from bitslice.lab.words import Augmentation, InputScaling, Method, Precision, Profile, RegularizerKind, Schedule


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
    column_weights: int | None = None
    """How many weights every column of an array keeps when pruned before this stage; None: it is pruned otherwise."""
    adc_bits: AdcSetting | None = None
    """ADC of every slice, B0 first, that the forward pass goes through; None: as ``adc_mean`` says."""
    adc_mean: float | None = None
    """Bits of a conversion on average, allocated to layers and slices on the images that levels are found on before the
    first epoch (:func:`bitslice.crossbar.allocate_adcs`); None, and no ``adc_bits``: exact products."""
    adc_first: AdcSetting | None = None
    """Those that the network was trained through before, likewise, in a run of its own; None: it was not."""
    row_order: RowOrder = RowOrder.CONSECUTIVE
    """Which wordlines share an array, where the forward pass goes through ADCs."""
    adc_gradient: AdcGradient = AdcGradient.SHARE
    """What the backward pass makes of those ADCs."""
    headroom: int = 0
    """Highest bits of every weight's word that stay 0 (:func:`bitslice.leave_headroom`)."""
    adc_levels: int | None = None
    """On how many training images the levels of every layer's ADCs are found again before each epoch
    (:func:`bitslice.crossbar.calibrate_adcs`); None: all layers have those of ``adc_bits``."""
    levels_kept: bool = False
    """Whether those found before the first epoch stay to the end."""
    distilled: bool = False
    """Whether the loss compares with what the network gave before this stage, without ADCs, in place of labels."""
    refined: int | None = None
    """On how many training images the levels of ADCs are chosen by the loss after the last epoch
    (:func:`bitslice.lab.refinement.refine_adcs`); None: they stay as they were found."""
    recalibrated: int | None = None
    """On how many training images batch normalization is estimated again after the last epoch, through the ADCs
    (:func:`bitslice.crossbar.recalibrate`); None: it stays as it was trained."""


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
    """Elements below this magnitude are pruned before fine-tuning; None: by column, or none are."""
    finetune: Stage | None
    """None: the run ends after pre-training."""
    rows: int
    """Wordlines of a crossbar, for the ADC statistics."""
    adc_images: int
    """Test images whose bitline sums are observed."""
    data: str = "mnist"
    """Data set, by its name in :data:`bitslice.lab.data.DATA_SETS`."""
    augmentation: Augmentation = Augmentation.NONE
    precision: Precision = Precision.FLOAT32
    channels_last: bool = False
    """Whether images lie in memory with their channels innermost, which convolutions run faster on."""
    adapt: Stage | None = None
    """Last stage, from the integer weights of the run without it, through ADCs; None: none."""

    @property
    def alpha(self) -> float | None:
        """Weight of the method's own regularizer, its price of a slice, or the weights that its columns keep; None for
        a method without any."""
        stage = self.finetune
        if stage is None:
            return None
        if stage.regularizer:
            return stage.alpha
        return stage.slice_price if stage.column_weights is None else stage.column_weights

    def pretrained(self) -> "Config":
        """Configuration of the pre-trained network that this run starts from."""
        return replace(self, method=Method.QUANTIZED, prune_threshold=None, finetune=None, adapt=None)

    def before_adapting(self) -> "Config":
        """Configuration of the network that a run adapts to ADCs, as it was before any of them."""
        return replace(self, adapt=None)

    def starts_from(self) -> "Config":
        """Configuration of the network whose integer weights a run that adapts to ADCs starts from."""
        if self.adapt is None or self.adapt.adc_first is None:
            return self.before_adapting()
        return replace(self, adapt=replace(self.adapt, adc_bits=self.adapt.adc_first, adc_mean=None, adc_first=None))

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
        """Inverse of :meth:`to_dict`; a field that is absent, as in records older than it, has its default.

        Raises:
            ValueError: naming a field that is unknown or does not fit.
        """
        return checked(cls, values)
