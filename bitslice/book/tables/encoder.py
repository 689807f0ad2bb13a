"""Tables of the sentence encoder on crossbars."""

from typing import Any

from bitslice.lab.minilm import Analysis


def encoder_layers(found: Analysis) -> list[dict[str, Any]]:
    """A row a kind of layer: how dense its slices are, and the ADC resolution that its columns ask for; B3 first."""
    return [
        {"Layers": kind.name}
        | {f"B{3 - k} set (%)": f"{share:.2f}" for k, share in enumerate(kind.density)}
        | {
            "ADC bits for the sentences": ", ".join(map(str, reversed(kind.observed_bits))),
            "for any input": ", ".join(map(str, reversed(kind.bound_bits))),
        }
        for kind in found.kinds
    ]


def encoder_accuracy(found: Analysis) -> list[dict[str, Any]]:
    """A row a choice of ADCs: how near vectors are to those in float, how often the nearest is of the same topic."""
    names = {"quantized": "Quantized, no crossbars", "ideal": "Ideal ADCs"}
    rows = [
        {
            "Network": "Float",
            "Mean cosine to float": "1",
            "Nearest of the same topic (%)": f"{found.float_accuracy:.1f}",
        }
    ]
    return rows + [
        {
            "Network": names.get(bits, f"ADCs of {bits} bits"),
            "Mean cosine to float": f"{found.cosine[bits]:.4f}",
            "Nearest of the same topic (%)": f"{found.accuracy[bits]:.1f}",
        }
        for bits in found.cosine
    ]


def encoder_finding(found: Analysis) -> str:
    """What the tables say, in a few sentences."""
    numbered = {int(bits): cosine for bits, cosine in found.cosine.items() if bits.isdigit()}
    lossless = min(bits for bits, cosine in numbered.items() if cosine == found.cosine["ideal"])
    least = min(bits for bits, cosine in numbered.items() if cosine >= found.cosine["ideal"] - 0.01)
    top = [kind.density[0] for kind in found.kinds]
    fewest = min(numbered)
    return (
        "**Finding.** As trained, without any regularizer, the most significant slice is nearly empty: between "
        f"{min(top):.2f} and {max(top):.1f}% of its cells are set, by the kind of layer. Yet columns of 128 wordlines "
        f"ask for more than the claimed ADCs: {lossless} bits change nothing on these sentences, {least} bits keep the "
        f"mean cosine within 0.01, and with {fewest} bits it is {numbered[fewest]:.2f}."
    )
