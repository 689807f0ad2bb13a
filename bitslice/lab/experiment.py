"""What an experiment is: a function that gives configurations, and which of its runs the book rests on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bitslice.crossbar import AdcGradient
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.config import Config
from bitslice.lab.words import InputScaling, Method, Profile


@dataclass(frozen=True)
class Experiment:
    """An experiment by name; call it for a configuration. The rest says which of its runs the book rests on.

    Attributes:
        name: as users type it.
        title: as figures and tables print it, data set and network.
        short: the one of both that tells it from others.
        configure: from method, profile, seed, alpha, input scaling and alpha of pre-training to a configuration.
        seeds: how many seeds the defaults and the sweeps have; of what is adapted to ADCs, three at most.
        sweep: alphas by method, around the defaults (which are among them).
        adapted: what is adapted to the claimed ADCs.
        adapt_rate: peak of the learning rate while adapting.
        adapt_rate_headroom: the same where bits of headroom are left.
        adapt_rate_levels: the same where levels are found, which leave the least to learn.
        adapt_gradient: what the backward pass makes of the ADCs.
        observed_images: test images on which a report observes bitline sums.
    """

    name: str
    title: str
    short: str
    configure: Callable[..., Config]
    seeds: int = 2
    sweep: Mapping[Method, tuple[float, ...]] = field(default_factory=dict)
    adapted: tuple[tuple[Method, Adaptation], ...] = ()
    adapt_rate: float = 0.02
    adapt_rate_headroom: float = 0.005
    adapt_rate_levels: float = 0.003
    adapt_gradient: AdcGradient = AdcGradient.STRAIGHT_THROUGH
    observed_images: int = 50

    def __call__(
        self,
        method: Method,
        profile: Profile | None = None,
        seed: int = 0,
        alpha: float | None = None,
        input_scaling: InputScaling | None = None,
        pretrain_alpha: float | None = None,
    ) -> Config:
        """The configuration; what is None is as ``configure`` has it. Raises as that."""
        chosen = {"profile": profile, "input_scaling": input_scaling}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        return self.configure(method, seed=seed, alpha=alpha, pretrain_alpha=pretrain_alpha, **chosen)
