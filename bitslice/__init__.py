"""Bit-slice sparsity for ReRAM accelerators: the method here, crossbars in ``crossbar``, what ADCs cost in ``costs``.

>>> import bitslice
>>> from torch import nn
>>> model = bitslice.quantize(nn.Sequential(nn.Linear(4, 2)))
>>> bitslice.BitSliceL1(model)().item() > 0
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitslice import costs as costs
    from bitslice import crossbar as crossbar
    from bitslice.calibration import calibrate as calibrate
    from bitslice.errors import BitsliceError as BitsliceError
    from bitslice.fixed_point import FixedPoint as FixedPoint
    from bitslice.fixed_point import Rounding as Rounding
    from bitslice.onnx_export import export_onnx as export_onnx
    from bitslice.overview import summary as summary
    from bitslice.proximal import charge_slices as charge_slices
    from bitslice.quantizer import leave_headroom as leave_headroom
    from bitslice.quantizer import prune as prune
    from bitslice.quantizer import quantize as quantize
    from bitslice.quantizer import quantized_tensors as quantized_tensors
    from bitslice.regularizers import L1 as L1
    from bitslice.regularizers import BitSliceL1 as BitSliceL1
    from bitslice.slices import density as density
    from bitslice.slices import from_slices as from_slices
    from bitslice.slices import to_slices as to_slices
    from bitslice.storage import load as load
    from bitslice.storage import save as save

__version__ = "0.2.0"

# Names load on first use, so that `import bitslice` does not wait for torch.
_HOME = {
    "BitsliceError": "errors",
    "charge_slices": "proximal",
    "FixedPoint": "fixed_point",
    "Rounding": "fixed_point",
    "calibrate": "calibration",
    "export_onnx": "onnx_export",
    "leave_headroom": "quantizer",
    "prune": "quantizer",
    "quantize": "quantizer",
    "quantized_tensors": "quantizer",
    "L1": "regularizers",
    "BitSliceL1": "regularizers",
    "density": "slices",
    "from_slices": "slices",
    "to_slices": "slices",
    "load": "storage",
    "save": "storage",
    "summary": "overview",
}
_PACKAGES = ("costs", "crossbar")

__all__ = [*_HOME, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"bitslice.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'bitslice' has no attribute {name!r}")
    return getattr(import_module(f"bitslice.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
