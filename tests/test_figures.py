"""Every figure is drawn from small inputs and says what it should; files and book entries are as promised."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from bitslice.book import touch
from bitslice.book.analysis import Layer, at_default_alpha
from bitslice.book.figures import INK, METHOD_COLOURS, Page, record_links
from bitslice.book.folders import FORMATS
from bitslice.book.plots import costs, idea, layers, methods, regularizer, slices
from bitslice.costs import ADC_MODELS, DESIGNS, SABERI
from bitslice.crossbar import BitlineSums
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.report import Report, Setting
from bitslice.lab.words import Method
from bitslice.proximal import proximal_table
from tests.conftest import SOURCE
from tests.test_analysis import record, sweep


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page("adc", folder=tmp_path, rows=64, record="x<y")


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(plt.Text))


def test_a_figure_becomes_four_files_and_a_themed_entry(page: Page, tmp_path: Path) -> None:
    figure, axes = plt.subplots()
    axes.set_xlabel("codes")
    shown = page.show(figure, "simple", "A < B", [record(Method.BL1, 0, None, 97, 5)])
    assert {path.name for path in tmp_path.iterdir()} == {f"simple.{suffix}" for suffix in FORMATS}
    assert (tmp_path / "simple.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "simple.pdf").read_bytes().startswith(b"%PDF")
    html = shown._repr_html_()
    assert "currentColor" in html
    assert INK not in html
    assert "A &lt; B" in html
    for link in ("figures/simple.svg", "notebooks/adc.ipynb", "results/mnist/bl1-s0.json"):
        assert f'href="{link}"' in html
    assert "rows=64, record=&#x27;x&lt;y&#x27;" in html
    assert not plt.fignum_exists(figure.number)
    assert shown._repr_png_() == (tmp_path / "simple.png").read_bytes()
    assert repr(shown).startswith("A < B\n")


def test_a_figure_brings_the_numbers_that_it_shows_and_says_them(page: Page, tmp_path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, sharey=True)
    left.errorbar([0.05, 0.95], [98.0, 70.5], [0.5, 1.0], label="Bit-slice L1", color="#D55E00")
    left.set_xticks([0, 1], ["ideal", "3,3,3,1"])
    left.axhline(10, color="0.6")
    left.set(xlabel="ADC bits", ylabel="accuracy (%)", title="MNIST")
    right.bar([0, 1], [5, 25], yerr=[1, 2], label="set cells")
    right.plot(0.5, 30, "o", color="#D55E00")
    right.set_xticks([0, 1], ["B3", "B0"])
    shown = page.show(figure, "simple", "Caption.")
    rows = pd.read_csv(tmp_path / "simple.csv").set_index(["series", "x"])
    assert rows.loc[("Bit-slice L1", "3,3,3,1"), "y"] == 70.5
    assert rows.loc[("Bit-slice L1", "3,3,3,1"), "y deviation"] == 1.0
    assert rows.loc[("set cells", "B0"), ["y", "y deviation"]].tolist() == [25, 2]
    assert set(rows["y axis"]) == {"accuracy (%)"}
    assert 30.0 in rows["y"].tolist()
    assert 10.0 not in rows["y"].tolist()  # a line for the eye
    assert "MNIST: accuracy (%) against ADC bits: Bit-slice L1 98 at ideal, 70.5 at 3,3,3,1." in shown.alt
    assert f'aria-label="{shown.alt}"' in shown.svg
    assert "Caption." not in shown.alt


def test_a_map_brings_its_cells_and_a_drawing_its_texts(page: Page, tmp_path: Path) -> None:
    codes = torch.tensor([[228, -1], [64, 0]])
    page.show(slices.weight_and_slices(codes), "map", "")
    cells = pd.read_csv(tmp_path / "map.csv")
    assert cells[cells["panel"].str.startswith("B3")]["value"].tolist() == [3, 0, 1, 0]
    shown = page.show(idea.idea(codes), "idea", "")
    assert "largest: 228 =" in pd.read_csv(tmp_path / "idea.csv")["text"].tolist()
    assert "8-bit weights" in shown.alt


def test_a_figure_to_be_touched_keeps_its_printed_twin(page: Page) -> None:
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    html = page.show(figure, "twin", "", touch=touch.element("sums", {"a": 1}))._repr_html_()
    assert html.index('class="touch"') < html.index('<details class="printed" open>') < html.index('class="canvas"')


def test_what_is_touched_is_what_the_library_computes() -> None:
    def data(element: str) -> Any:
        return json.loads(element[element.index("{") : element.rindex("</script>")])

    code = data(touch.code())
    assert (code["value"][228], code["pull"][228]) == (6, 1 / 4 + 1 / 16 + 1 / 64)
    assert code["stored"][code["prices"].index(2)][:18] == proximal_table(2.0)[255:273].int().tolist()
    laws = data(touch.costs(ADC_MODELS.values(), 9, 3, 8))["laws"]
    assert laws["power"]["saberi"][7] / laws["power"]["saberi"][2] == pytest.approx(SABERI.power_saving(3), rel=1e-5)
    assert laws["power"]["survey"][:3] == [None] * 3  # below its range
    sums = data(touch.sums([BitlineSums(9, torch.tensor([4, 2, 0, 1, 0])), BitlineSums(9, torch.tensor([7]))]))
    assert sums["counts"] == {"B1": [7], "B0": [4, 2, 0, 1]}
    one = record(Method.BL1, 0, None, 97, 5)
    setting = Setting((3, 3, 3, 1), 81.234, (0.0,) * 4, 2.5e-6, None, None, None)
    free = replace(setting, adc_bits=(None,) * 4, energy=None)
    report = Report("", {}, "", 1, 1, 0, None, None, None, 97, None, [], [free, setting], SOURCE)
    panel = data(touch.energy({"mnist": [(one, report)]}, Path("simulations/report"), CLAIMED))["panels"]
    assert panel == {
        "MNIST, perceptron": {
            "reports": "simulations/report/mnist",
            "settings": [["3,3,3,1", 2.5]],
            "runs": [[one.path.as_posix(), "bl1", [[0, 81.23]]]],
        }
    }


def legends(figure: Figure) -> list[Legend]:
    return [*figure.legends, *(axes.legend_ for axes in figure.axes if axes.legend_ and axes.axison)]


def test_legends_lie_beside_the_curves() -> None:
    sweeps = {"l1": sweep(Method.L1, 3.0), "bl1": sweep(Method.BL1, 1.5)}
    runs = {m: at_default_alpha(found) for m, found in sweeps.items()}
    curves = {m: found[0] for m, found in runs.items()}
    drawn = [
        regularizer.value_and_pull(),
        slices.density_by_tensor(record(Method.BL1, 0, None, 97, 5)),
        methods.density_by_method(runs),
        methods.accuracy_against_density(sweeps, {}),
        methods.training_curves({"quantized": record(Method.QUANTIZED, 0, None, 97, 9)} | curves),
        costs.savings(ADC_MODELS.values(), range(1, 10), 8),
        costs.energies([], DESIGNS.values(), range(1, 10)),
    ]
    for figure in drawn:
        figure.canvas.draw()
        assert legends(figure)
        for legend in legends(figure):
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent().shrunk(0.99, 0.99)) for axes in figure.axes)


def test_the_book_alone_writes_into_the_books_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITSLICE_FIGURES", raising=False)
    assert Page("adc").folder == Path("build/notebooks/figures")
    monkeypatch.setenv("BITSLICE_FIGURES", "figures")
    assert Page("adc").folder == Path("figures")


def test_equal_figures_give_equal_files(page: Page, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        page.show(regularizer.value_and_pull(), "a", "same")
        contents.append([(tmp_path / f"a.{suffix}").read_bytes() for suffix in ("svg", "pdf", "png")])
    assert contents[0] == contents[1]


def clipped(left: float) -> Figure:
    """A line and a picture, clipped by a circle and by axes that begin at ``left``."""
    figure = plt.figure()
    figure.set_layout_engine("none")
    axes = figure.add_axes((left, 0.1, 0.8, 0.8))
    (line,) = axes.plot([0, 1], [0, 1])
    picture = axes.imshow(np.eye(4), extent=(0, 1, 0, 1))
    for artist in (line, picture):
        artist.set_clip_path(plt.Circle((0.5, 0.5), 0.3, transform=axes.transData))
    axes.plot([0, 1], [1, 0])
    return figure


def test_clip_paths_are_named_the_same_wherever_objects_lie_and_however_the_layout_rounds(
    page: Page, tmp_path: Path
) -> None:
    contents, kept = [], []
    for left in (0.123, 0.123 + 1e-14):
        kept.append(clipped(left))
        shown = page.show(kept[-1], "a", "same")
        contents.append(((tmp_path / "a.svg").read_text(), shown.svg))
    assert contents[0] == contents[1]
    for text in contents[0]:
        paths = re.findall(r'<clipPath id="([^"]+)"', text)
        assert paths == [f"a-clip{place}" for place in range(1, len(paths) + 1)]
        assert len(paths) >= 2
        assert set(re.findall(r'clip-path="url\(#([^"]+)\)"', text)) == set(paths)


def test_many_records_are_folded_away() -> None:
    runs = [run.path for run in sweep(Method.L1, 3.0)]
    assert "<details>" in record_links(runs)
    assert "<details>" not in record_links(runs[:2])


def test_colours_of_methods_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.3 * r + 0.59 * g + 0.11 * b

    shades = sorted(grey(METHOD_COLOURS[method]) for method in ("pruned", "l1", "bl1"))
    assert min(b - a for a, b in pairwise(shades)) > 20


def test_the_idea_shows_true_sums_and_resolutions() -> None:
    codes = torch.tensor([[228, -1], [64, 3]])
    shown = texts(idea.idea(codes))
    assert "largest: 228" in shown
    assert "4 0" in shown  # B3 of 228 and 64 add up to 4
    assert "ADC: 3 bits" in shown


def test_the_idea_has_an_upright_form_for_narrow_screens_in_the_same_entry(page: Page, tmp_path: Path) -> None:
    codes = torch.tensor([[228, -1], [64, 3]])
    upright = idea.upright(codes)
    width, height = upright.get_size_inches()
    assert height > 1.5 * width
    assert {"largest: 228 =", "ADC: 3 bits"} <= {text.get_text() for text in upright.findobj(plt.Text)}
    html = page.show(idea.idea(codes), "idea", "The idea", upright=upright)._repr_html_()
    assert html.count("<svg") == 2
    assert html.count("<figcaption>") == 1
    assert (tmp_path / "idea_upright.svg").exists()
    assert "upright" not in page.show(idea.idea(codes), "idea", "The idea")._repr_html_()


def test_the_corner_keeps_the_largest_weights() -> None:
    codes = torch.zeros(50, 40, dtype=torch.int32)
    codes[13, 7], codes[20, 30] = -200, 100
    corner = idea.most_significant_corner(codes, 3, 4)
    assert corner.shape == (3, 4)
    assert {-200, 100} <= set(corner.flatten().tolist())


@pytest.mark.parametrize("cell_bits", [1, 2, 4, 8])
def test_slices_are_drawn_for_every_cell_width(cell_bits: int) -> None:
    figure = slices.weight_and_slices(torch.randint(-255, 256, (6, 6)), cell_bits)
    assert len(re.findall(r"\bB\d", texts(figure))) == 8 // cell_bits


def test_density_by_tensor_names_its_tensors() -> None:
    assert "78,400 values" in texts(slices.density_by_tensor(record(Method.BL1, 0, None, 97, 5)))


def test_weights_stall_on_multiples_of_four_when_the_loss_holds() -> None:
    path = regularizer.descend(torch.tensor([11.0, 27.0, 46.0, 90.0]), steps=2000, rate=0.2, opposing=0.35)
    assert (path[-1].round() % 4 == 0).all()
    assert (path[-1].round() > 0).all()


def test_weights_reach_zero_when_nothing_holds() -> None:
    path = regularizer.descend(torch.tensor([11.0, 27.0, 46.0, 90.0]), steps=20000, rate=0.2)
    assert (path[-1] < 0.5).all()


def test_regularizer_figures_label_their_axes() -> None:
    codes = {"l1": torch.tensor([1, -2, 0]), "bl1": torch.tensor([4, 8, 0])}
    figures = (regularizer.stalls(10, 0.2, 0.35), regularizer.value_and_pull(), regularizer.code_histogram(codes))
    for figure in figures:
        assert "code of |w|" in texts(figure)
    assert "2 of 3 not zero" in texts(figures[-1])


def test_figures_of_methods_draw_every_method() -> None:
    sweeps = {"l1": sweep(Method.L1, 3.0), "bl1": sweep(Method.BL1, 1.5)}
    pruned = {"pruned": [record(Method.PRUNED, 0, None, 99.9, 10)]}
    density = methods.density_by_method(pruned | {m: at_default_alpha(runs) for m, runs in sweeps.items()})
    assert "Bit-slice L1 (n=2)" in texts(density)
    front = methods.accuracy_against_density(sweeps, pruned, live=pruned["pruned"])
    assert "live runs" in texts(front)
    assert "test accuracy (%)" in texts(front)
    low, high = front.axes[1].get_xlim()
    assert low < 98.1 < high  # the best of either sweep, though a reference is far above
    curves = methods.training_curves(
        {"quantized": record(Method.QUANTIZED, 0, None, 97, 9), "bl1": record(Method.BL1, 0, None, 97, 5)}
    )
    assert max(curves.axes[0].lines[1].get_xdata()) == 102  # two epochs of fine-tuning follow 100 of pre-training


def test_layers_stand_beside_the_pruned_network() -> None:
    def network(density: float, names: tuple[str, ...]) -> list[Layer]:
        return [Layer(name, 100, (density, 0.0, density, density)) for name in names]

    networks = {
        "mnist": {method: network(20, ("1.weight", "3.weight")) for method in ("pruned", "l1", "bl1")},
        "cifar10-resnet20": {"pruned": network(20, ("0.weight",)), "bl1": network(10, ("0.weight",))},
    }
    dense = layers.density_by_layer(networks)
    assert "CIFAR-10, ResNet-20" in texts(dense)
    assert [line.get_xdata()[0] for line in dense.axes[1].lines] == [50.0] * 3  # each of two equal layers
    left = layers.left_after_pruning(networks)
    (*_, absent, bl1) = left.axes
    assert not absent.axison  # L1 has no records there
    shares = {line.get_label(): line.get_xdata() for line in bl1.lines}
    assert list(shares["B3"]) == [50.0]
    assert np.isnan(shares["B2"]).all()  # nothing was left to empty
