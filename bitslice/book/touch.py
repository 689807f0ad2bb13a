"""Figures that can be touched: what ``book/_static/touch.js`` draws them from, computed here by the library.

The script computes what follows from a slider alone; every table of numbers that it reads comes from here, so that a
notebook with other parameters shows its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitslice.book.analysis import Simulated
from bitslice.book.figures import EXPERIMENT_NAMES, METHOD_COLOURS, METHOD_NAMES, SLICE_COLOURS
from bitslice.book.plots.costs import MODEL_STYLES
from bitslice.costs.models import AdcModel
from bitslice.crossbar.adc import AdcSetting, setting_name
from bitslice.crossbar.statistics import BitlineSums
from bitslice.proximal import proximal_table
from bitslice.regularizers import slice_tables

PRICES = (2.0, 8.0, 32.0, 128.0, 512.0)
"""Prices of a slice among which the reader chooses: the alphas of bit-slice L0 that were trained with."""


def element(kind: str, data: Mapping[str, Any]) -> str:
    """The element in which the script draws one of its figures.

    Args:
        kind: which of them.
        data: what it is drawn from, JSON values.

    >>> element("sums", {"x": "</script>"})
    '<div class="touch" data-kind="sums"><script type="application/json">{"x":"<\\\\/script>"}</script></div>'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return f'<div class="touch" data-kind="{kind}"><script type="application/json">{text}</script></div>'


def code(bits: int = 8, cell_bits: int = 2, start: int = 228) -> str:
    """A code, its slices, and what L1, bit-slice L1 and bit-slice L0 do to it."""
    value, pull = (table[2**bits - 1 :].tolist() for table in slice_tables(bits, cell_bits))
    stored = [proximal_table(price, bits, cell_bits)[2**bits - 1 :].int().tolist() for price in PRICES]
    data = {"bits": bits, "cell_bits": cell_bits, "start": start, "value": value, "pull": pull, "stored": stored}
    return element("code", data | {"prices": PRICES, "price": PRICES.index(32.0), "colours": METHOD_COLOURS})


def sums(slices: Sequence[BitlineSums]) -> str:
    """Bitline sums against the levels of an ADC.

    Args:
        slices: B0 first.
    """
    counts = {f"B{k}": each.counts[: each.observed + 1].tolist() for k, each in reversed(list(enumerate(slices)))}
    return element("sums", {"counts": counts, "colours": SLICE_COLOURS})


def energy(networks: Mapping[str, Iterable[Simulated]], folder: Path, first: AdcSetting) -> str:
    """Accuracy against the energy of the ADCs, a mark a network and setting.

    Args:
        networks: by experiment.
        folder: of their reports.
        first: the setting whose mark is chosen at first.
    """
    panels, drawn = {}, set()
    for experiment, found in networks.items():
        places: dict[tuple[str, float], int] = {}  # settings with their energies, which most networks share
        runs = []
        for run, report in found:
            marks = [
                (
                    places.setdefault((setting_name(s.adc_bits), float(f"{1e6 * s.energy:.6g}")), len(places)),
                    round(s.accuracy, 2),
                )
                for s in report.settings
                if s.energy is not None
            ]
            runs.append([run.path.as_posix(), run.config.method.value, marks])
            drawn.add(run.config.method.value)
        panels[EXPERIMENT_NAMES[experiment]] = {
            "reports": (folder / experiment).as_posix(),
            "settings": list(places),
            "runs": runs,
        }
    methods = {m: {"title": METHOD_NAMES[m], "colour": METHOD_COLOURS[m]} for m in METHOD_COLOURS if m in drawn}
    return element("energy", {"panels": panels, "methods": methods, "unit": "uJ", "first": setting_name(first)})


def costs(models: Iterable[AdcModel], most_bits: int, bits: int, reference_bits: int) -> str:
    """Savings of one ADC by cost model.

    Args:
        models: those to compare.
        most_bits: right end of the horizontal axis.
        bits: resolution that is chosen at first.
        reference_bits: resolution that savings are measured against at first.
    """
    models = list(models)
    resolutions = range(1, most_bits + 1)

    def law(of: Any, model: AdcModel) -> list[float | None]:
        return [float(f"{of(b):.6g}") if model.holds(b) else None for b in resolutions]

    laws = {
        "power": {model.name: law(model.power, model) for model in models},
        "energy a conversion": {model.name: law(model.energy, model) for model in models},
        "area": {model.name: law(model.area_law, model) for model in models if model.area_law},
    }
    styles = {model.name: {"title": model.title, "colour": MODEL_STYLES[model.name][0]} for model in models}
    return element(
        "costs", {"most": most_bits, "bits": bits, "reference": reference_bits, "laws": laws, "models": styles}
    )
