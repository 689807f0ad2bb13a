"""Networks on ReRAM crossbars, simulated bit for bit: mapping, ADCs, statistics, cells that are not ideal."""

from bitslice.crossbar.adc import (
    Adc,
    AdcBits,
    AdcChoice,
    AdcSetting,
    LayerAdcs,
    adc_setting,
    adc_word,
    adcs,
    setting_name,
)
from bitslice.crossbar.allocation import allocate_adcs
from bitslice.crossbar.aware import AdcGradient, through_adcs
from bitslice.crossbar.drive import digits
from bitslice.crossbar.export import export_slices
from bitslice.crossbar.geometry import Crossbar, RowOrder, SignedInputs
from bitslice.crossbar.levels import calibrate_adcs
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import map_codes, map_network
from bitslice.crossbar.network import CrossbarLayer, deploy, images_at_a_time, recalibrate
from bitslice.crossbar.nonideal import NonIdealities
from bitslice.crossbar.reference import naive
from bitslice.crossbar.simulation import Simulation
from bitslice.crossbar.statistics import BitlineSums, LayerSums, bitline_sums, pooled, resolution
from bitslice.crossbar.unfold import Unfold

__all__ = [
    "Adc",
    "AdcBits",
    "AdcChoice",
    "AdcGradient",
    "AdcSetting",
    "BitlineSums",
    "Crossbar",
    "CrossbarLayer",
    "LayerAdcs",
    "LayerSums",
    "MappedLayer",
    "NonIdealities",
    "RowOrder",
    "SignedInputs",
    "Simulation",
    "Unfold",
    "adc_setting",
    "adc_word",
    "adcs",
    "allocate_adcs",
    "bitline_sums",
    "calibrate_adcs",
    "deploy",
    "digits",
    "export_slices",
    "images_at_a_time",
    "map_codes",
    "map_network",
    "naive",
    "pooled",
    "recalibrate",
    "resolution",
    "setting_name",
    "through_adcs",
]
