"""The sentence encoder: tokens, a BERT layer written out, and the committed record."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitslice.book import tables
from bitslice.book.sources import PACKAGE
from bitslice.lab import minilm

RANDOM = torch.Generator().manual_seed(0)


def weights_of_a_layer(name: str) -> dict[str, Tensor]:
    shapes = {
        "attention.self.query": (384, 384),
        "attention.self.key": (384, 384),
        "attention.self.value": (384, 384),
        "attention.output.dense": (384, 384),
        "attention.output.LayerNorm": (384,),
        "intermediate.dense": (1536, 384),
        "output.dense": (384, 1536),
        "output.LayerNorm": (384,),
    }
    found = {}
    for part, shape in shapes.items():
        found[f"{name}{part}.weight"] = torch.randn(*shape, generator=RANDOM) * 0.05
        found[f"{name}{part}.bias"] = torch.randn(shape[0], generator=RANDOM) * 0.05
    return found


def test_a_layer_computes_what_bert_does() -> None:
    weights, x = weights_of_a_layer(""), torch.randn(2, 5, 384, generator=RANDOM)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (384,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    heads = [
        linear(f"attention.self.{of}", x).unflatten(2, (12, 32)).transpose(1, 2) for of in ("query", "key", "value")
    ]
    mixed = (heads[0] @ heads[1].transpose(2, 3) / 32**0.5).softmax(dim=3) @ heads[2]
    attended = norm(
        "attention.output.LayerNorm", x + linear("attention.output.dense", mixed.transpose(1, 2).flatten(2))
    )
    inner = nn.functional.gelu(linear("intermediate.dense", attended))
    expected = norm("output.LayerNorm", attended + linear("output.dense", inner))
    assert torch.allclose(minilm._layer(weights, "").eval()(x), expected, atol=1e-4)


def test_tokens_are_the_longest_pieces_that_the_vocabulary_has(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "##ing", "##i", ".", "it"]))
    found = minilm.tokens(["It raining.", "Snow"], vocabulary)
    assert found.tolist() == [[2, 8, 4, 5, 7, 3], [2, 1, 3, 0, 0, 0]]


def test_accuracy_is_of_the_nearest_other_vector() -> None:
    vectors = torch.eye(4)[[0, 0, 1, 2]]
    assert minilm.accuracy(vectors, torch.tensor([0, 0, 1, 1])) == pytest.approx(50)


def test_sentences_are_four_on_each_of_twelve_topics() -> None:
    sentences, topics = minilm.listed()
    assert len(set(sentences)) == 48
    assert topics.bincount().tolist() == [4] * 12


def test_the_record_is_of_these_sentences_and_says_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE.parent)
    found = minilm.read()
    assert (found.sentences, found.exact) == (48, True)
    assert found.accuracy["quantized"] == found.accuracy["ideal"]
    assert found.cosine["3"] < found.cosine["6"] <= found.cosine["8"]
    assert [kind.name for kind in found.kinds] == list(minilm.KINDS)
    for kind in found.kinds:
        assert all(o <= b for o, b in zip(kind.observed_bits, kind.bound_bits, strict=True))


def test_the_tables_and_the_finding_say_what_the_record_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE.parent)
    found = minilm.read()
    rows = tables.encoder_accuracy(found)
    assert [row["Network"] for row in rows[:3]] == ["Float", "Quantized, no crossbars", "Ideal ADCs"]
    assert rows[-1]["Nearest of the same topic (%)"] == f"{found.accuracy['3']:.1f}"
    first = tables.encoder_layers(found)[0]
    assert first["B3 set (%)"] == f"{found.kinds[0].density[0]:.2f}"
    assert first["for any input"] == "6, 7, 8, 8"
    finding = tables.encoder_finding(found)
    assert "7 bits change nothing" in finding
    assert "6 bits keep the mean cosine" in finding
    assert f"with 3 bits it is {found.cosine['3']:.2f}" in finding
