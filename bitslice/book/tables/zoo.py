"""The table of other people's architectures."""

from typing import Any

from bitslice.book.tables.cells import number
from bitslice.lab.zoo import Zoo


def zoo(found: Zoo) -> list[dict[str, Any]]:
    """A row a network: what is mapped, whether it is bit-exact, and times in ms for one input."""
    return [
        {
            "Network": entry.title,
            "Input": "×".join(map(str, entry.shape)),
            "Layers mapped": f"{entry.mapped}" + (f" ({entry.unused} unused)" if entry.unused else ""),
            "Parameters mapped": f"{100 * entry.share:.1f}%",
            "Arrays": f"{entry.arrays:,}",
            "Bit-exact": "yes" if entry.exact else f"no ({entry.apart:.0e})",
        }
        | {_FORMS.get(form, f"{form} bits"): number(seconds, 1e3) for form, seconds in entry.seconds.items()}
        for entry in found.networks.values()
    ]


_FORMS = {"float": "Float (ms)", "quantized": "Quantized", "ideal": "Ideal ADCs"}
