"""Networks on ReRAM crossbars, simulated bit for bit: mapping, ADCs, statistics."""

from bitslice.crossbar.geometry import Adc, Crossbar, SignedInputs, adcs
from bitslice.crossbar.mapping import MappedLayer, Unfold, map_network
from bitslice.crossbar.network import deploy

__all__ = ["Adc", "Crossbar", "MappedLayer", "SignedInputs", "Unfold", "adcs", "deploy", "map_network"]
