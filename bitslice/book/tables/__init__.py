"""The book's tables, from records to Markdown."""

from bitslice.book.tables.bitlines import adc_bits, fullest_columns, layer_sums, saved_bits, sums_compared
from bitslice.book.tables.cells import markdown
from bitslice.book.tables.costs import adc_models, designs, savings_by_model
from bitslice.book.tables.encoder import encoder_accuracy, encoder_finding, encoder_layers
from bitslice.book.tables.headline import claims_by_network
from bitslice.book.tables.methods import (
    against_pruning,
    beside_released,
    claims,
    equal_accuracy,
    methods,
    pretraining,
    timings,
    versions,
)
from bitslice.book.tables.remedies import (
    adapted_costs,
    allocated,
    cheapest_adcs,
    closest_adcs,
    closest_fewer,
    front,
    gradients,
    levels,
    remedies,
)
from bitslice.book.tables.settings import adc_claims, adc_settings, departures, networks
from bitslice.book.tables.verified import claims_verified
from bitslice.book.tables.zoo import zoo

__all__ = [
    "adapted_costs",
    "adc_bits",
    "adc_claims",
    "adc_models",
    "adc_settings",
    "against_pruning",
    "allocated",
    "beside_released",
    "cheapest_adcs",
    "claims",
    "claims_by_network",
    "claims_verified",
    "closest_adcs",
    "closest_fewer",
    "departures",
    "designs",
    "encoder_accuracy",
    "encoder_finding",
    "encoder_layers",
    "equal_accuracy",
    "front",
    "fullest_columns",
    "gradients",
    "layer_sums",
    "levels",
    "markdown",
    "methods",
    "networks",
    "pretraining",
    "remedies",
    "saved_bits",
    "savings_by_model",
    "sums_compared",
    "timings",
    "versions",
    "zoo",
]
