"""Networks on ReRAM crossbars, simulated bit for bit: mapping, ADCs, statistics, cells that are not ideal."""

from bitslice.crossbar.geometry import Adc, AdcBits, Crossbar, RowOrder, SignedInputs, adcs, setting_name
from bitslice.crossbar.mapping import MappedLayer, Unfold, map_network
from bitslice.crossbar.network import deploy, recalibrate
from bitslice.crossbar.nonideal import NonIdealities
from bitslice.crossbar.statistics import BitlineSums, LayerSums, bitline_sums, pooled, resolution

__all__ = [
    "Adc",
    "AdcBits",
    "BitlineSums",
    "Crossbar",
    "LayerSums",
    "MappedLayer",
    "NonIdealities",
    "RowOrder",
    "SignedInputs",
    "Unfold",
    "adcs",
    "bitline_sums",
    "deploy",
    "map_network",
    "pooled",
    "recalibrate",
    "resolution",
    "setting_name",
]
