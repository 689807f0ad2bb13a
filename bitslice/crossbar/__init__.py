"""Networks on ReRAM crossbars, simulated bit for bit: mapping, ADCs, statistics, cells that are not ideal."""

from bitslice.crossbar.adc import Adc, AdcBits, AdcSetting, adc_setting, adcs, setting_name
from bitslice.crossbar.geometry import Crossbar, RowOrder, SignedInputs
from bitslice.crossbar.mapping import MappedLayer, Unfold, map_network
from bitslice.crossbar.network import deploy, recalibrate
from bitslice.crossbar.nonideal import NonIdealities
from bitslice.crossbar.statistics import BitlineSums, LayerSums, bitline_sums, pooled, resolution

__all__ = [
    "Adc",
    "AdcBits",
    "AdcSetting",
    "BitlineSums",
    "Crossbar",
    "LayerSums",
    "MappedLayer",
    "NonIdealities",
    "RowOrder",
    "SignedInputs",
    "Unfold",
    "adc_setting",
    "adcs",
    "bitline_sums",
    "deploy",
    "map_network",
    "pooled",
    "recalibrate",
    "resolution",
    "setting_name",
]
