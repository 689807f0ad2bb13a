"""Tables of ADC cost models and published designs."""

from collections.abc import Iterable
from typing import Any

from bitslice.costs.designs import Design
from bitslice.costs.models import AbsoluteAdc, AdcModel


def adc_models(models: Iterable[AdcModel]) -> list[dict[str, Any]]:
    """ADC cost models: what they say, where they hold, where they come from."""
    return [
        {
            "Model": model.title,
            "Name": f"`{model.name}`",
            "Formula": f"`{model.formula}`",
            "Units": "absolute" if isinstance(model, AbsoluteAdc) else "relative",
            "Bits": f"{model.least}–{model.most}",
            "Source": f"{{cite}}`{model.source}`",
        }
        for model in models
    ]


def savings_by_model(models: Iterable[AdcModel], bits: int, reference_bits: int) -> list[dict[str, Any]]:
    """What one ADC saves against ``reference_bits``, model by model; dashes outside a model's range."""
    kinds = {
        "Power": AdcModel.power_saving,
        "Time": AdcModel.time_saving,
        "Energy a conversion": AdcModel.energy_saving,
        "Area": AdcModel.area_saving,
    }
    rows = []
    for model in models:
        holds = model.holds(bits) and model.holds(reference_bits)
        found = {
            kind: _saving(saving(model, bits, reference_bits) if holds else None) for kind, saving in kinds.items()
        }
        rows.append({f"{bits} against {reference_bits} bits": model.title} | found)
    return rows


def _saving(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"


def designs(found: Iterable[Design]) -> list[dict[str, Any]]:
    """Published ADCs."""
    return [
        {
            "Design": f"{design.title} {{cite}}`{design.source}`",
            "Bits": str(design.bits),
            "GS/s": f"{design.sample_rate / 1e9:g}",
            "Power (mW)": f"{1e3 * design.power:.3g}",
            "Area (um²)": f"{design.area:.0f}",
            "pJ a conversion": f"{1e12 * design.energy:.2f}",
            "Walden (fJ a step)": f"{1e15 * design.walden:.1f}",
            "Schreier (dB)": f"{design.schreier:.1f}",
        }
        for design in found
    ]
