"""The ADCs at the bitlines: what they make of a sum, and how a choice of them is written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from bitslice.errors import BitsliceError

LARGEST = 2**24
"""No step or threshold is larger, since no bitline sum is: up to there float32 holds every integer."""


@dataclass(frozen=True)
class Adc:
    """Transfer function of an ADC, in cell levels: code 1 from ``threshold`` on, one more with every ``step``, clipped.

    A code is worth its number of steps. An ADC of 1 bit thus gives 0, or from its threshold on its step, and both are
    free; with more bits a threshold lies within the first step.

    Attributes:
        bits: resolution N, so that codes run from 0 to 2^N - 1; None: ideal, every sum as it is.
        step: bitline sum per code. The kernel counts with powers of two; others take the slower torch form.
        threshold: smallest sum of code 1, at least 1; None: half a step, which rounds to the nearest, half up. Of sums
            that are real, as where cells are not ideal, those from half a level below count too.

    >>> Adc(2).convert(torch.tensor([0, 1, 3, 4, 200]))
    tensor([0, 1, 3, 3, 3])
    >>> Adc(2, step=4).convert(torch.tensor([0, 1, 2, 5, 200]))
    tensor([ 0,  0,  4,  4, 12])
    >>> Adc(1, step=8, threshold=3).convert(torch.tensor([0, 2, 3, 5, 200]))
    tensor([0, 0, 8, 8, 8])
    """

    bits: int | None
    step: int = 1
    threshold: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and not (isinstance(self.bits, Integral) and 1 <= self.bits <= 16):
            raise BitsliceError(f"an ADC has between 1 and 16 bits, not {self.bits}")
        if not isinstance(self.step, Integral) or not 1 <= self.step <= LARGEST:
            raise BitsliceError(f"the step of an ADC lies between 1 cell level and {LARGEST}, not {self.step}")
        if self.bits is None and (self.step > 1 or self.threshold is not None):
            raise BitsliceError("an ideal ADC has no step and no threshold: give it a resolution")
        largest = LARGEST if self.bits == 1 else self.step
        if self.threshold is not None and not (isinstance(self.threshold, Integral) and 1 <= self.threshold <= largest):
            limit = f"{largest}" if self.bits == 1 else f"its step of {largest}"
            raise BitsliceError(f"the threshold of an ADC lies between 1 and {limit}, not {self.threshold}")
        if self.threshold == (self.step + 1) // 2:  # one way to say it
            object.__setattr__(self, "threshold", None)

    @property
    def first(self) -> int:
        """Smallest sum of code 1."""
        return (self.step + 1) // 2 if self.threshold is None else self.threshold

    @property
    def gain(self) -> int:
        """How many times itself a sum can become, at most; a whole number not below that."""
        return -(-self.step // self.first)

    @property
    def full_scale(self) -> int | None:
        """Largest sum that it gives; what lies beyond is clipped. None: ideal, there is no such sum.

        >>> Adc(3).full_scale, Adc(3, step=4).full_scale
        (7, 28)
        """
        return None if self.bits is None else (2**self.bits - 1) * self.step

    def changes(self, largest: Tensor) -> Tensor:
        """Whether some sum from 0 to ``largest`` (any shape, integer) is not converted to itself; bool, same shape."""
        if self.bits is None:
            return torch.zeros_like(largest, dtype=torch.bool)
        return largest.gt(2**self.bits - 1 if self.step == self.first == 1 else 0)

    def convert(self, sums: Tensor) -> Tensor:
        """Converted bitline sums: same shape and type; ``sums`` are integers, or real where cells are not ideal."""
        if self.bits is None:
            return sums
        if self.step == self.first == 1 and not sums.is_floating_point():
            return sums.clamp(0, 2**self.bits - 1)
        above = self.step - self.first
        codes = torch.div(sums + (above + 0.5 if sums.is_floating_point() else above), self.step).floor()
        return codes.clamp(0, 2**self.bits - 1).mul(self.step).to(sums.dtype)


WORD = re.compile(r"(\d{1,9})(?:x(\d{1,9}))?(?:@(\d{1,9}))?", re.ASCII)
"""An ADC as text: bits, step, threshold."""

AdcSetting = tuple[int | Adc | None, ...]
"""ADCs of all slices, B0 first: a resolution, a whole ADC where its step is not 1, or None for an ideal one."""

AdcBits = Sequence[int | Adc | None] | int | None
"""As :data:`AdcSetting`; one number, or None, stands for all slices."""


def adcs(bits: AdcBits, slices: int = 4) -> tuple[Adc, ...]:
    """ADCs of all slices, B0 first.

    >>> [adc.bits for adc in adcs((3, 3, 3, 1))], [adc.bits for adc in adcs(8)]
    ([3, 3, 3, 1], [8, 8, 8, 8])

    Raises:
        BitsliceError: if there are not as many as slices, or one is not between 1 and 16.
    """
    listed = [bits] * slices if bits is None or isinstance(bits, int) else list(bits)
    if len(listed) != slices:
        raise BitsliceError(f"{slices} slices need {slices} ADC resolutions, B0 first, not {len(listed)}")
    return tuple(n if isinstance(n, Adc) else Adc(n) for n in listed)


class LayerAdcs(Mapping[str, AdcBits]):
    """ADCs by patterns of layers' names, as of a shell; the first that fits a layer counts. Hashable.

    >>> LayerAdcs({"fc": 8, "conv*": (3, 3, 3, 1)}).of("conv1")
    (3, 3, 3, 1)
    """

    def __init__(self, patterns: Mapping[str, AdcBits]) -> None:
        self._found: dict[str, AdcBits] = {
            pattern: bits if bits is None or isinstance(bits, int) else tuple(bits)
            for pattern, bits in patterns.items()
        }

    def __getitem__(self, pattern: str) -> AdcBits:
        return self._found[pattern]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __hash__(self) -> int:
        return hash(tuple(self._found.items()))

    def of(self, layer: str) -> AdcBits:
        """The ADCs of a layer, by its name.

        Raises:
            BitsliceError: if no pattern fits it.
        """
        for pattern, bits in self._found.items():
            if fnmatchcase(layer, pattern):
                return bits
        raise BitsliceError(f"no pattern of {', '.join(self)} gives layer {layer!r} its ADCs")

    @property
    def resolutions(self) -> "LayerAdcs":
        """The same ADCs without steps and thresholds, so that their levels can be found again.

        >>> LayerAdcs({"fc": (Adc(3, step=2), Adc(1, 8, 3))}).resolutions["fc"]
        (3, 1)
        """

        def plain(bits: AdcBits) -> AdcBits:
            return bits if bits is None or isinstance(bits, int) else tuple(adc.bits for adc in adcs(bits, len(bits)))

        return LayerAdcs({pattern: plain(bits) for pattern, bits in self.items()})


AdcChoice = AdcSetting | LayerAdcs
"""ADCs of a whole network, all layers' or by layer."""


def adcs_of(layer: str, bits: AdcBits | Mapping[str, AdcBits], slices: int = 4) -> tuple[Adc, ...]:
    """ADCs of one layer, by its name; raises as :func:`adcs` and :meth:`LayerAdcs.of`."""
    return adcs(LayerAdcs(bits).of(layer) if isinstance(bits, Mapping) else bits, slices)


def adc_word(adc: int | Adc | None) -> str:
    """One ADC as text: its resolution, then its step behind an x and its threshold behind an @ where it has them.

    >>> [adc_word(adc) for adc in (3, Adc(3), Adc(3, step=4), Adc(1, step=8, threshold=3), None)]
    ['3', '3', '3x4', '1x8@3', 'ideal']
    >>> adc_word(0)  # what a slice without a set cell asks for
    '0'
    """
    if not isinstance(adc, Adc):
        return "ideal" if adc is None else str(adc)
    word = adc_word(adc.bits) + (f"x{adc.step}" if adc.step > 1 else "")
    return word if adc.threshold is None else f"{word}@{adc.threshold}"


def setting_name(setting: AdcBits | LayerAdcs) -> str:
    """ADCs as text, B0 first; one word where all slices have the same.

    >>> setting_name((3, 3, 3, 1)), setting_name((8, 8, 8, 8)), setting_name((Adc(3, step=2), 3, 3, 1))
    ('3,3,3,1', '8', '3x2,3,3,1')
    >>> setting_name(LayerAdcs({"fc": 8, "*": (3, 3, 3, 1)}))
    'fc: 8; *: 3,3,3,1'
    """
    if isinstance(setting, LayerAdcs):
        return "; ".join(f"{pattern}: {setting_name(bits)}" for pattern, bits in setting.items())
    if setting is None or isinstance(setting, int):
        return adc_word(setting)
    words = [adc_word(adc) for adc in setting]
    return words[0] if len(set(words)) == 1 else ",".join(words)


def adc_setting(text: str) -> AdcSetting:
    """ADCs from text, a word a slice, B0 first.

    >>> adc_setting("3x2,3,ideal,1x4@3")
    (Adc(bits=3, step=2, threshold=None), 3, None, Adc(bits=1, step=4, threshold=3))

    Raises:
        BitsliceError: if a word is none of an ADC.
    """

    def adc(word: str) -> int | Adc | None:
        if word == "ideal":
            return None
        match = WORD.fullmatch(word)
        if match is None:
            raise BitsliceError(
                f"ADCs are bits, as 3x2 with a step, as 1x4@3 with a threshold, or ideal, such as 3,3,3,1, not {text!r}"
            )
        bits, step, threshold = (None if number is None else int(number) for number in match.groups())
        found = Adc(bits, 1 if step is None else step, threshold)
        return bits if found == Adc(bits) else found

    return tuple(adc(word) for word in text.split(","))


def from_json(setting: Any) -> AdcChoice:
    """ADCs from JSON, in which a whole one is an object of its attributes; ADCs by layer are an object of settings.

    By layer a setting may also be one number, and everywhere text as :func:`adc_setting` reads it.

    Raises:
        BitsliceError: for what is no ADC; TypeError for what is no setting at all.

    >>> from_json([3, {"bits": 3, "step": 2}, None])
    (3, Adc(bits=3, step=2, threshold=None), None)
    >>> setting_name(from_json({"fc": 8, "*": "3,3,3,1"}))
    'fc: 8; *: 3,3,3,1'
    """

    def several(value: Any) -> AdcSetting:
        listed = adc_setting(value) if isinstance(value, str) else value
        found = tuple(Adc(**adc) if isinstance(adc, dict) else adc for adc in listed)
        adcs(found, len(found))  # refuses what is no ADC
        return found

    def one(value: Any) -> AdcBits:
        if value is None or isinstance(value, int):
            adcs(value)
            return value
        return several(value)

    if isinstance(setting, dict):
        return LayerAdcs({pattern: one(value) for pattern, value in setting.items()})
    return several(setting)


def to_json(setting: AdcBits | LayerAdcs) -> Any:
    """Inverse of :func:`from_json`."""
    if isinstance(setting, LayerAdcs):
        return {pattern: to_json(bits) for pattern, bits in setting.items()}
    if setting is None or isinstance(setting, int):
        return setting

    def one(adc: Adc) -> dict[str, int | None]:
        return {name: value for name, value in asdict(adc).items() if name != "threshold" or value is not None}

    return [one(adc) if isinstance(adc, Adc) else adc for adc in setting]
