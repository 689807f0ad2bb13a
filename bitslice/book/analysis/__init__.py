"""From records to the claims: means and spreads over seeds, fronts, and densities at equal accuracy."""

from bitslice.book.analysis.claimed import CLAIMED_BITS, Claim, adapted_cost, claims, slice_bits
from bitslice.book.analysis.comparison import Front, density_at, density_ratio, finding, fronts, levels, pruned_ratio
from bitslice.book.analysis.headline import KEPT, NEARLY, Cell, Standing, matrix, sentences
from bitslice.book.analysis.measured import GIVEN_UP, Measured, measured, savings
from bitslice.book.analysis.per_layer import Layer, layers, layers_finding
from bitslice.book.analysis.seeds import Spread, spread, verdict
from bitslice.book.analysis.selection import (
    adapted,
    at_alpha,
    at_default_alpha,
    beside,
    by_alpha,
    by_seed,
    paired,
    read_each,
    released,
    select,
    sweeps,
    swept,
)
from bitslice.book.analysis.simulated import Simulated, accuracies, hardier, simulated, tolerated

__all__ = [
    "CLAIMED_BITS",
    "GIVEN_UP",
    "KEPT",
    "NEARLY",
    "Cell",
    "Claim",
    "Front",
    "Layer",
    "Measured",
    "Simulated",
    "Spread",
    "Standing",
    "accuracies",
    "adapted",
    "adapted_cost",
    "at_alpha",
    "at_default_alpha",
    "beside",
    "by_alpha",
    "by_seed",
    "claims",
    "density_at",
    "density_ratio",
    "finding",
    "fronts",
    "hardier",
    "layers",
    "layers_finding",
    "levels",
    "matrix",
    "measured",
    "paired",
    "pruned_ratio",
    "read_each",
    "released",
    "savings",
    "select",
    "sentences",
    "simulated",
    "slice_bits",
    "spread",
    "sweeps",
    "swept",
    "tolerated",
    "verdict",
]
