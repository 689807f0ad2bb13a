"""What ADCs cost: models from the literature, published designs, and the sum over a mapped network."""

from bitslice.costs.designs import DESIGNS, FORMS, ISAAC, NEWTON, Design, anchored
from bitslice.costs.models import (
    ADC_MODELS,
    COMPONENTS,
    LINEAR,
    SABERI,
    SCHREIER,
    WALDEN,
    AbsoluteAdc,
    AdcModel,
    RelativeAdc,
    neurosim_flash,
    neurosim_sar,
    survey,
)
from bitslice.costs.network import LayerCost, LayerLoad, NetworkCost, network_cost

__all__ = [
    "ADC_MODELS",
    "COMPONENTS",
    "DESIGNS",
    "FORMS",
    "ISAAC",
    "LINEAR",
    "NEWTON",
    "SABERI",
    "SCHREIER",
    "WALDEN",
    "AbsoluteAdc",
    "AdcModel",
    "Design",
    "LayerCost",
    "LayerLoad",
    "NetworkCost",
    "RelativeAdc",
    "anchored",
    "network_cost",
    "neurosim_flash",
    "neurosim_sar",
    "survey",
]
