"""Reports on networks on crossbars, from the library and from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitslice import quantize
from bitslice.cli import main
from bitslice.costs.designs import anchored
from bitslice.costs.models import ADC_MODELS, COMPONENTS, SABERI
from bitslice.crossbar import Adc, Crossbar, allocate_adcs, bitline_sums, calibrate_adcs, deploy, map_network
from bitslice.crossbar.network import recalibrate
from bitslice.errors import BitsliceError
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.described import QUANTILES
from bitslice.lab.evaluation import network_input
from bitslice.lab.report import STANDARD, Report, read, report
from bitslice.lab.subjects import network_and_images, training_images
from bitslice.lab.tolerance import ToleranceReport, tolerance
from bitslice.lab.words import InputScaling, Method
from bitslice.quantizer import leave_headroom, quantized_tensors
from tests.conftest import TEST, TRAIN, Trained

Example = tuple[nn.Module, Tensor, Tensor]

IDEAL = (None, None, None, None)


def example() -> Example:
    """A small quantized network, its inputs, and labels that it meets in all but a few."""
    torch.manual_seed(0)
    x = torch.rand(60, 3, 6, 6)
    model = quantize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)))
    model(x)
    labels = model.eval()(x).argmax(dim=1)
    labels[:3] = (labels[:3] + 1) % 4
    return model, x, labels


def right(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Percent."""
    return 100 * float((model(x).argmax(dim=1) == labels).double().mean())


def not_three() -> tuple[nn.Module, Tensor]:
    """What the command line cannot use."""
    return nn.Linear(1, 1), torch.zeros(1)


@pytest.fixture(scope="module")
def found() -> Report:
    model, x, labels = example()
    settings = [IDEAL, (8, 8, 8, 8), (2, 2, 2, 1)]
    return report(
        model, x, labels, settings, anchored(SABERI), Crossbar(rows=16), observed_images=20, network="example"
    )


class TestReport:
    def test_accuracy_is_that_of_the_deployed_network(self, found: Report) -> None:
        model, x, labels = example()
        mapped = map_network(model, x, Crossbar(rows=16))
        for setting in found.settings:
            right = (deploy(model, mapped, setting.adc_bits)(x).argmax(dim=1) == labels).double().mean()
            assert setting.accuracy == pytest.approx(100 * float(right))
        assert found.settings[0].accuracy == found.digital_accuracy == 95.0
        assert found.settings[2].accuracy < 95.0

    def test_sums_are_those_of_the_images_observed(self, found: Report) -> None:
        model, x, _ = example()
        mapped = map_network(model, x[:20], Crossbar(rows=16))
        sums = bitline_sums(model, mapped, x[:20])
        assert [layer["name"] for layer in found.layers] == ["0", "3"]
        for described, layer, place in zip(found.layers, sums, mapped, strict=True):
            assert described["tile_bounds"] == layer.bounds.tolist()
            assert described["conversions"] == place.conversions().tolist()
            for k, values in enumerate(described["slices"]):
                own = layer.of_slice(k)
                assert values["counts"] == own.counts[: own.observed + 1].tolist()
                assert (values["observed"], values["bound"]) == (own.observed, own.bound)
                assert values["quantiles"] == {str(q): own.quantile(q) for q in QUANTILES}
                assert max(max(signs[k] for signs in tile) for tile in described["tile_observed"]) == own.observed

    def test_clipped_is_the_share_beyond_full_scale(self, found: Report) -> None:
        ideal, wide, narrow = found.settings
        assert ideal.clipped == wide.clipped == (0, 0, 0, 0)
        histograms = [[layer["slices"][k]["counts"] for layer in found.layers] for k in range(4)]
        for k, bits in enumerate((2, 2, 2, 1)):
            beyond = sum(sum(counts[2**bits :]) for counts in histograms[k])
            assert narrow.clipped[k] == pytest.approx(beyond / sum(map(sum, histograms[k])))
            assert narrow.clipped[k] > 0

    def test_cost_counts_every_conversion(self, found: Report) -> None:
        adc = anchored(SABERI)
        wide = found.settings[1]
        conversions = sum(sum(layer["conversions"]) for layer in found.layers)
        assert wide.energy == pytest.approx(conversions * adc.energy(8))
        assert wide.area is None  # this model has none
        assert wide.latency is not None
        assert wide.interval is not None
        assert 0 < wide.interval < wide.latency
        narrow = found.settings[2]
        assert narrow.energy is not None
        assert narrow.energy < wide.energy  # type: ignore[operator]

    def test_every_array_has_an_adc_of_some_area(self) -> None:
        model, x, labels = example()
        adc = anchored(COMPONENTS)
        described = report(model, x, labels, [(8, 8, 8, 8)], adc, Crossbar(rows=16), observed_images=5)
        arrays = sum(layer["arrays"] for layer in described.layers)
        area = adc.area(8)
        assert area is not None
        assert described.settings[0].area == pytest.approx(1e-6 * arrays * area)

    def test_beyond_the_range_of_a_cost_model_there_is_no_cost(self) -> None:
        model, x, labels = example()
        (setting,) = report(
            model, x, labels, [(3, 3, 3, 3)], anchored(ADC_MODELS["survey"]), observed_images=5
        ).settings
        assert (setting.energy, setting.latency, setting.interval, setting.area) == (None, None, None, None)

    def test_an_adc_with_a_step_clips_later_and_costs_the_same(self) -> None:
        model, x, labels = example()
        settings = [(2, 2, 2, 1), (Adc(2, 3), Adc(2, 2), 2, 1)]
        narrow, wide = report(model, x, labels, settings, anchored(SABERI), Crossbar(rows=16), 20).settings
        assert (wide.energy, wide.latency) == (narrow.energy, narrow.latency)
        assert wide.clipped[0] < narrow.clipped[0]
        assert wide.clipped[1] < narrow.clipped[1]
        assert wide.clipped[2:] == narrow.clipped[2:]
        right = (
            deploy(model, map_network(model, x, Crossbar(rows=16)), settings[1])(x).argmax(dim=1) == labels
        ).double()
        assert wide.accuracy == pytest.approx(100 * float(right.mean()))
        assert wide.accuracy != narrow.accuracy

    def test_levels_are_found_for_every_setting_on_the_images_given(self) -> None:
        model, x, labels = example()
        crossbar = Crossbar(rows=16)
        settings = [(3, 3, 3, 1), (8, 8, 8, 8)]
        found = report(model, x, labels, settings, anchored(SABERI), crossbar, 20, shown=x[:30])
        plain = report(model, x, labels, settings, anchored(SABERI), crossbar, 20)
        assert found.levels_images == 30
        for setting, before in zip(found.settings, plain.settings, strict=True):
            levels = calibrate_adcs(model, x[:30], setting.adc_bits, crossbar)
            right = (deploy(model, map_network(model, x, crossbar), levels)(x).argmax(dim=1) == labels).double()
            assert setting.levels == levels
            assert setting.accuracy == pytest.approx(100 * float(right.mean()))
            assert (setting.adc_bits, setting.energy) == (before.adc_bits, before.energy)
        assert found.settings[0].accuracy > plain.settings[0].accuracy
        assert found.settings[0].clipped != plain.settings[0].clipped
        assert Report.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert "levels found on 30 images" in found.lines()[0]

    def test_allocated_adcs_come_behind_the_given_ones_and_all_are_judged(self) -> None:
        model, x, labels = example()
        crossbar, shown, judged = Crossbar(rows=16), x[:10], (x[20:50].flip(3), labels[20:50])
        given, means = (2, 2, 2, 1), [3.0, 1.25]
        found = report(
            model, x, labels, [given], anchored(SABERI), crossbar, 20, shown=shown, means=means, judged=judged
        )
        plain = report(model, x, labels, [given], anchored(SABERI), crossbar, 20, shown=shown)
        choices = [given, *allocate_adcs(model, shown, means, crossbar)]
        assert [setting.adc_bits for setting in found.settings] == choices
        assert [setting.asked for setting in found.settings] == [given, *means]
        assert replace(found.settings[0], judged=None) == plain.settings[0]
        mapped = map_network(model, x, crossbar)
        for setting, choice in zip(found.settings, choices, strict=True):
            assert setting.levels == calibrate_adcs(model, shown, choice, crossbar)
            deployed = deploy(model, mapped, setting.levels)
            assert setting.accuracy == pytest.approx(right(deployed, x, labels))
            assert setting.judged == pytest.approx(right(deployed, *judged))
        assert (found.judging_images, plain.judging_images, plain.digital_judged) == (30, None, None)
        assert found.digital_judged == pytest.approx(right(model, *judged)) != found.digital_accuracy
        few = found.settings[2]
        assert few.energy is not None
        assert few.energy < found.settings[1].energy  # type: ignore[operator]
        assert few.clipped != found.settings[1].clipped
        assert Report.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert [line.split("%")[0].split()[:3] for line in found.lines()[-4:-1]][1:] == [
            ["mean", "of", "3"],
            ["mean", "of", "1.25"],
        ]

    def test_adcs_are_not_allocated_without_images(self) -> None:
        model, x, labels = example()
        with pytest.raises(BitsliceError, match="ADCs are allocated on the images that find their levels"):
            report(model, x, labels, [], anchored(SABERI), observed_images=5, means=[2.0])

    def test_a_report_older_than_allocation_is_of_given_adcs_that_nothing_judges(self, found: Report) -> None:
        values = found.to_dict()
        older = [{k: v for k, v in setting.items() if k not in ("mean", "judged")} for setting in values["settings"]]
        del values["judging_images"], values["digital_judged"]
        assert Report.from_dict({**values, "settings": older}) == found
        assert {setting.judged for setting in found.settings} == {None}

    def test_headroom_holds_for_the_network_without_crossbars_too(self) -> None:
        model, x, labels = example()
        codes = [tensor.codes() for tensor in quantized_tensors(model)]
        found = report(model, x, labels, [IDEAL], anchored(SABERI), observed_images=20, headroom=5)
        assert all(map(torch.equal, codes, (tensor.codes() for tensor in quantized_tensors(model))))
        leave_headroom(model, 5)
        right = 100 * float((model(x).argmax(dim=1) == labels).double().mean())
        assert found.digital_accuracy == found.settings[0].accuracy == pytest.approx(right)
        assert right != 95.0
        assert [layer["slices"][3]["bound"] for layer in found.layers] == [0, 0]
        assert "; headroom of 5 bits" in found.lines()[0]

    def test_survives_json(self, found: Report, tmp_path: Path) -> None:
        path = tmp_path / "report.json"
        path.write_text(json.dumps(found.to_dict()))
        assert read(path) == found
        assert found.provenance["threads"] == torch.get_num_threads()

    def test_a_report_older_than_row_orders_is_of_consecutive_rows(self, found: Report) -> None:
        values = found.to_dict()
        assert values["crossbar"].pop("row_order") == "consecutive"
        assert Report.from_dict(values) == found

    def test_text_names_every_layer_and_setting(self, found: Report) -> None:
        text = "\n".join(found.lines())
        for words in ("example: 60 images, 95.00%", "\n2,2,2,1 ", "\nideal ", "uJ", "Saberi"):
            assert words in text

    def test_a_batch_keeps_within_its_budget(self) -> None:
        model, x, labels = example()
        seen: list[int] = []
        model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
        report(model, x, labels, [IDEAL], anchored(SABERI), observed_images=20, budget=16 * (3 * 36 + 8 * 16) * 7)
        assert seen[0] == 20  # the images that show how the network is mapped
        assert max(seen[1:]) == 7

    @pytest.mark.parametrize("observed", [0, 61])
    def test_images_to_observe_must_be_there(self, observed: int) -> None:
        model, x, labels = example()
        with pytest.raises(BitsliceError, match=f"observes 1 to 60 of them, not {observed}"):
            report(model, x, labels, [IDEAL], anchored(SABERI), observed_images=observed)

    def test_settings_are_refused_before_anything_runs(self) -> None:
        model, x, labels = example()
        said: list[str] = []
        with pytest.raises(BitsliceError, match="4 slices need 4 ADC resolutions"):
            report(model, x, labels, [IDEAL, (3, 3)], anchored(SABERI), observed_images=5, say=said.append)
        assert not said

    def test_the_paper_is_among_the_standard_settings(self) -> None:
        assert (3, 3, 3, 1) in STANDARD
        assert IDEAL in STANDARD

    def test_file_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(BitsliceError, match="no report at"):
            read(tmp_path / "none.json")
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(BitsliceError, match="is not a report"):
            read(tmp_path / "other.json")


class TestTolerance:
    def test_measures_every_kind_and_strength_with_every_seed(self) -> None:
        model, x, labels = example()
        said: list[str] = []
        strengths = {"read_noise": (0.0, 3.0), "stuck_on": (0.5,)}
        got = tolerance(model, x, labels, (8, 8, 8, 8), 2, strengths, network="example", say=said.append)
        kinds = [(m.kind, m.strength, len(m.accuracies)) for m in got.measured]
        assert kinds == [(None, None, 1), ("read_noise", 0.0, 2), ("read_noise", 3.0, 2), ("stuck_on", 0.5, 2)]
        ideal, silent, noisy, stuck = (m.accuracies for m in got.measured)
        assert silent == ideal * 2 == (95.0, 95.0)
        assert max(noisy + stuck) < 95.0
        assert len(said) == 3
        assert ToleranceReport.from_dict(json.loads(json.dumps(got.to_dict()))) == got
        assert got.lines()[:2] == ["ideal cells: 95.00%", "read_noise 0: 95.00%, 95.00%"]


class TestCommandLine:
    def test_report_of_a_record(self, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
        path = trained.records[Method.BL1].path
        arguments = ["crossbar", "report", str(path), "--adc-bits", "3x2,3,3,1", "--adc-bits", "ideal,8,8,8", "--json"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(DATA_SETS, "mnist", lambda train: TEST)
            assert main([*arguments, "--images", "50", "--observed-images", "10"]) == 0
        captured = capsys.readouterr()
        got = Report.from_dict(json.loads(captured.out))
        assert [setting.adc_bits for setting in got.settings] == [(Adc(3, 2), 3, 3, 1), (None, 8, 8, 8)]
        assert (got.images, got.observed_images, got.network) == (50, 10, str(path))
        assert "ADCs 3x2,3,3,1: 50 of 50 images" in captured.err

    def test_report_of_ones_own_model(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["crossbar", "report", "tests.test_report:example", "--adc-bits", "8,8,8,8"]) == 0
        assert "60 images, 95.00% without crossbars" in capsys.readouterr().out

    def test_calibration_looks_at_training_images(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = "results/cifar10-resnet20/bl1-s0.json"
        asked: list[bool] = []

        def images(train: bool) -> Images:
            asked.append(train)
            generator = torch.Generator().manual_seed(int(train))
            pixels = torch.randint(0, 256, (24, 3, 32, 32), generator=generator, dtype=torch.uint8)
            return Images(pixels, torch.zeros(24, dtype=torch.int64), (0.5,) * 3, (0.25,) * 3)

        monkeypatch.setitem(DATA_SETS, "cifar10", images)
        arguments = ["crossbar", "report", path, "--adc-bits", "2,2,2,2", "--json", "--observed-images", "2"]
        assert main([*arguments, "--calibrate", "16"]) == 0
        calibrated = Report.from_dict(json.loads(capsys.readouterr().out))
        assert asked == [False, True]
        assert calibrated.calibration_images == 16
        assert "; calibrated on 16 images" in calibrated.lines()[0]
        model, x, _ = network_and_images(path)
        deployed = deploy(model, map_network(model, x[:2]), 2)
        recalibrate(deployed, training_images(path, 16)[0])
        with torch.no_grad():
            right = 100 * float((deployed(x).argmax(dim=1) == 0).double().mean())
        assert calibrated.settings[0].accuracy == pytest.approx(right)

    def test_tolerance_of_ones_own_model(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ["crossbar", "tolerance", "tests.test_report:example", "--images", "20", "--seeds", "1"]
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("ideal cells: ")
        assert main([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == 20

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere.json"], "no record at nowhere.json"),
            (["no.such.module:function"], "no.such.module:function does not give a model, its images and their labels"),
            (["tests.test_report:not_three"], "does not give a model, its images and their labels"),
            (["tests.test_report:example", "--adc-bits", "3,0,3,1"], "an ADC has between 1 and 16 bits, not 0"),
            (["tests.test_report:example", "--adc-bits", "3,3,3"], "4 slices need 4 ADC resolutions, B0 first, not 3"),
            (
                ["tests.test_report:example", "--adc-bits", "3,x,3,1"],
                "or ideal, such as 3,3,3,1, not '3,x,3,1'",
            ),
            (["tests.test_report:example", "--rows", "0"], "a crossbar's rows must be at least 1, not 0"),
            (
                ["tests.test_report:example", "--cell-bits", "3"],
                "layer '0': cells of 3 bits do not divide",
            ),
            (
                ["tests.test_report:example", "--signed-inputs", "no"],
                "unknown signed inputs 'no'; choose from",
            ),
            (
                ["tests.test_report:example", "--row-order", "no"],
                "unknown row order 'no'; choose from consecutive, spread",
            ),
            (["tests.test_report:example", "--cost-model", "gold"], "unknown cost model 'gold'"),
            (["tests.test_report:example", "--threads", "0"], "--threads must be at least 1, not 0"),
            (["tests.test_report:example", "--images", "0"], "a report needs images"),
            (["tests.test_report:example", "--calibrate", "5"], "tests.test_report:example gives no training images"),
            (["tests.test_report:example", "--headroom", "8"], "headroom in words of 8 bits lies between 0 and 7"),
            (["tests.test_report:example", "--headroom", "-1"], "headroom in words of 8 bits lies between 0 and 7"),
            (["tests.test_report:example", "--calibrate", "0"], "--calibrate must be at least 1, not 0"),
            (["tests.test_report:example", "--judge", "0"], "--judge must be at least 1, not 0"),
            (["tests.test_report:example", "--judge", "5"], "tests.test_report:example gives no training images"),
            (["tests.test_report:example", "--adc-mean", "2,x"], "--adc-mean takes numbers, as 2.5,2, not '2,x'"),
            (["tests.test_report:example", "--adc-mean", "2"], "allocated on the images that find their levels"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_bad_input_gets_one_line(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["crossbar", "report", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err
        assert captured.err.count("\n") == 1

    def test_a_float_network_is_refused(self) -> None:
        model, x, labels = nn.Linear(3, 2), torch.ones(1, 3), torch.zeros(1, dtype=torch.int64)
        with pytest.raises(BitsliceError, match="a crossbar needs a quantized network"):
            report(model, x, labels, [IDEAL], anchored(SABERI), observed_images=1)


class TestTrainingImages:
    CIFAR = "results/cifar10-resnet20/bl1-s0.json"

    @pytest.fixture
    def shown(self, monkeypatch: pytest.MonkeyPatch) -> Images:
        """Images whose label is their number."""
        pixels = torch.randint(256, (24, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        images = Images(pixels, torch.arange(24), (0.5,) * 3, (0.25,) * 3)
        monkeypatch.setitem(DATA_SETS, "cifar10", {True: images}.__getitem__)
        return images

    def test_they_are_cropped_and_mirrored_as_training_shows_them(self, shown: Images) -> None:
        x, labels = training_images(self.CIFAR, 16)
        assert sorted(labels.tolist()) == list(range(16))
        plain = network_input(shown.pixels, shown, InputScaling.NORMALIZED)
        assert sum(bool(torch.equal(own, plain[label])) for own, label in zip(x, labels, strict=True)) <= 2
        for own, label in zip(x[:4], labels[:4], strict=True):
            padded = nn.functional.pad(shown.pixels[label], [4] * 4)
            crops = [padded[:, row : row + 32, column : column + 32] for row in range(9) for column in range(9)]
            every = torch.stack(crops + [crop.flip(2) for crop in crops])
            assert (network_input(every, shown, InputScaling.NORMALIZED) == own).flatten(1).all(1).any()

    def test_they_are_the_same_each_time(self, shown: Images) -> None:
        first, again = (training_images(self.CIFAR, 8) for _ in range(2))
        assert all(map(torch.equal, first, again))

    def test_the_last_ones_are_others(self, shown: Images) -> None:
        assert sorted(training_images(self.CIFAR, 5, last=True)[1].tolist()) == [19, 20, 21, 22, 23]

    @pytest.mark.usefixtures("digits")
    def test_without_augmentation_they_are_as_they_are_in_another_order(self, trained: Trained) -> None:
        x, labels = training_images(str(trained.records[Method.BL1].path), 20)
        pixels = (255 * x).round().to(torch.uint8)

        def pairs(pixels: Tensor, labels: Tensor) -> list[tuple[int, bytes]]:
            return sorted(
                (int(label), bytes(own.flatten().tolist())) for own, label in zip(pixels, labels, strict=True)
            )

        assert pairs(pixels, labels) == pairs(TRAIN.pixels[:20], TRAIN.labels[:20])


def test_a_limit_of_images_holds_for_models_of_ones_own() -> None:
    _, images, labels = network_and_images("tests.test_report:example", 7)
    assert len(images) == len(labels) == 7


def test_chips_differ() -> None:
    got = tolerance(*example(), (8,) * 4, 3, {"variation": (0.5,)})
    assert len(set(got.measured[1].accuracies)) > 1


def test_an_ideal_adc_costs_what_a_lossless_one_does() -> None:
    model, x, labels = example()
    x[0] = 0  # the image observed drives little
    found = report(model, x, labels, [IDEAL], anchored(SABERI), observed_images=1)
    slices = [[layer["slices"][k] for layer in found.layers] for k in range(4)]
    bits = [max(s["bound_bits"] for s in each) for each in slices]
    assert bits != [max(s["observed_bits"] for s in each) for each in slices]
    (same,) = report(model, x, labels, [bits], anchored(SABERI), observed_images=1).settings
    assert same.energy is not None
    assert same.latency is not None
    assert (found.settings[0].energy, found.settings[0].latency) == (same.energy, same.latency)
    assert f"{1e6 * same.energy:.3g} uJ, {1e6 * same.latency:.3g} us" in found.lines()[-2]


def test_layers_are_described_by_hand() -> None:
    model, x, labels = example()
    with torch.no_grad():
        next(quantized_tensors(model)).original[0].zero_()  # its bitlines need no ADC
    crossbar = Crossbar(rows=16, columns=4)
    conv = report(model, x, labels, [], anchored(SABERI), crossbar, observed_images=5).layers[0]
    assert (conv["unused_rows"], conv["unused_columns"], conv["cycles"], conv["vectors"]) == (5, 0, 8, 16)
    used = map_network(model, x[:5], crossbar)[0].bounds.gt(0).sum(dim=(0, 1, 2, 4))
    assert conv["conversions_of_used"] == [int(n) * 16 * 8 for n in used] != conv["conversions"]
