"""The table of other people's architectures."""

from collections import Counter
from typing import Any

from bitslice.book.tables.cells import number
from bitslice.lab.zoo import Entry, Zoo


def zoo(found: Zoo) -> list[dict[str, Any]]:
    """A row a network: what is mapped, whether it is bit-exact, and times in ms for one input."""
    return [
        {
            "Network": entry.title,
            "Input": " × ".join(map(str, entry.shape)),
            "Layers mapped": f"{entry.mapped}" + (f" ({entry.unused} unused)" if entry.unused else ""),
            "Parameters mapped": f"{100 * entry.share:.1f}%",
            "In float": _left(entry),
            "Arrays": f"{entry.arrays:,}",
            "Bit-exact": "yes" if entry.exact else f"no ({entry.apart:.0e})",
        }
        | {_FORMS.get(form, f"{form} bits"): number(seconds, 1e3) for form, seconds in entry.seconds.items()}
        for entry in found.networks.values()
    ]


_FORMS = {"float": "Float (ms)", "quantized": "Quantized", "ideal": "Ideal ADCs"}


def _left(entry: Entry) -> str:
    """What stays in float by the last part of its name, and how often."""
    counts = Counter(name.rpartition(".")[2] for name, _, _ in entry.left)
    return ", ".join(f"`{name}`" + (f" ({count})" if count > 1 else "") for name, count in counts.items()) or "–"
