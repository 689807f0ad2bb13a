"""Whatever stands in a file or on the command line: a valid object, or our own error, whose text says what is wrong.

Sixty inputs of each kind by default; ``make slow`` tries 10,000.
"""

import ast
import contextlib
import copy
import io
import json
import math
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from papermill.translators import PythonTranslator
from torch import nn

from bitslice import BitsliceError, load, quantize
from bitslice.book import notebooks
from bitslice.cli import crossbar, parser, train
from bitslice.cli.provenance import origin
from bitslice.crossbar import LayerAdcs
from bitslice.crossbar.adc import adc_setting, adcs, from_json, setting_name, to_json
from bitslice.lab import records, report, states, tolerance
from bitslice.lab.config import Config
from bitslice.lab.disk import read_json
from bitslice.lab.words import Method
from bitslice.storage import Arrays, export_codes, load_arrays
from tests.conftest import Trained, small

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 300),
    st.sampled_from([2**31, -(2**63), 10**400, 1e-320, 1e300, math.inf, math.nan, 0.5]),
    st.text(max_size=6),
    st.sampled_from(["..", "../x", "/etc/passwd", "__import__('os')._exit(3)", "\ud800", "nan", "8", "bl1", "mlp"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def refused(make: Callable[[], T]) -> T | None:
    """What ``make`` gives; None if it refuses to. Anything else that it raises fails the test."""
    with contextlib.suppress(BitsliceError):
        return make()
    return None


@st.composite
def damaged(draw: DrawFn, whole: Any) -> Any:
    """Plain JSON values with one to three of them replaced, left out or added, at any depth."""
    whole = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = whole
        while True:  # down to a random container
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            inner = [key for key in keys if isinstance(place[key], (dict, list)) and place[key]]
            if not inner or draw(st.booleans()):
                break
            place = place[draw(st.sampled_from(inner))]
        action = draw(st.sampled_from(["replace", "leave out", "add"]))
        if not keys or action == "add":
            value = draw(VALUES)
            place.append(value) if isinstance(place, list) else place.update({draw(st.text(max_size=5)): value})
        elif action == "replace":
            place[draw(st.sampled_from(keys))] = draw(VALUES)
        else:
            del place[draw(st.sampled_from(keys))]
    return whole


@st.composite
def bytes_damaged(draw: DrawFn, whole: bytes) -> bytes:
    """Bytes cut short, or with a few of them changed."""
    if draw(st.booleans()):
        return whole[: draw(st.integers(0, len(whole) - 1))]
    changed = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


@st.composite
def arrays_damaged(draw: DrawFn, whole: Arrays) -> Arrays:
    """Named arrays of which some are others, left out or added."""
    changed = dict(whole)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([*whole, *(f"{n}.mask" for n in whole), "new"]))
        shape = draw(st.sampled_from([(), (0,), (1,), (3,), (4, 3), *[a.shape for a in whole.values()][:3]]))
        kind = draw(st.sampled_from([np.int8, np.int16, np.int64, np.uint8, np.float32, np.complex64, np.bool_, "U3"]))
        number = draw(st.sampled_from([0, 1, -1, 3, 127, 255, 2**40, math.nan, math.inf, 1e30]))
        with np.errstate(all="ignore"), contextlib.suppress(ValueError, OverflowError):
            changed[name] = np.full(shape, number, dtype=np.float64).astype(kind)
        if draw(st.integers(0, 3)) == 0:
            changed.pop(name, None)
    if "words" in changed and draw(st.booleans()):
        words = draw(damaged(json.loads(str(whole["words"]))))
        changed["words"] = np.array(json.dumps(words))
    return changed


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def run(trained: Trained, scratch: Path) -> Path:
    """A record with its weights, to be overwritten."""
    for name in ("bl1-s0.json", "bl1-s0.npz"):
        shutil.copy(trained.folder / name, scratch / name)
    return scratch / "bl1-s0.json"


class TestRecords:
    @given(st.data())
    def test_of_any_content_are_refused_or_whole(self, run: Path, trained: Trained, data: st.DataObject) -> None:
        whole = json.loads((trained.folder / "bl1-s0.json").read_text())
        run.write_text(json.dumps(data.draw(damaged(whole))))
        record = refused(lambda: records.read(run))
        if record is not None:
            assert json.dumps(record.summary())
            assert json.dumps(origin(record))
            assert Config.from_dict(record.config.to_dict()).to_dict().keys() == record.config.to_dict().keys()
            network = refused(record.network)
            assert network is None or isinstance(network, nn.Module)

    @given(st.data())
    def test_of_any_bytes_are_refused_or_whole(self, run: Path, trained: Trained, data: st.DataObject) -> None:
        run.write_bytes(data.draw(bytes_damaged((trained.folder / "bl1-s0.json").read_bytes())))
        record = refused(lambda: records.read(run))
        assert record is None or json.dumps(record.summary())

    def test_nested_beyond_all_measure_are_refused(self, run: Path) -> None:
        run.write_text("[" * 100_000)
        assert refused(lambda: records.read(run)) is None


REPORT = json.loads((ROOT / "simulations/report/mnist/bl1-s0.json").read_text())
TOLERANCE = json.loads((ROOT / "simulations/tolerance/mnist/bl1-s0.json").read_text())


@given(damaged(REPORT), damaged(TOLERANCE))
def test_reports_of_any_content_are_refused_or_whole(scratch: Path, about_adcs: Any, about_cells: Any) -> None:
    path = scratch / "report.json"
    for reader, content in ((report.read, about_adcs), (tolerance.read, about_cells)):
        path.write_text(json.dumps(content))
        found = refused(lambda reader=reader: reader(path))
        assert found is None or (found.lines() and json.dumps(found.to_dict()))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


def exported() -> Arrays:
    model = quantize(network())
    model(torch.randn(8, 4))
    return export_codes(model)


class TestWeights:
    @given(arrays_damaged(exported()))
    def test_of_any_arrays_are_refused_or_make_a_network(self, scratch: Path, arrays: Arrays) -> None:
        path = scratch / "network.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        model = refused(lambda: load(network(), path))
        assert model is None or model.eval()(torch.ones(2, 4)).shape == (2, 2)

    @given(st.data())
    def test_of_any_bytes_are_refused_or_unchanged(self, scratch: Path, data: st.DataObject) -> None:
        path, whole = scratch / "bytes.npz", exported()
        np.savez_compressed(path, **whole)  # type: ignore[arg-type]
        path.write_bytes(data.draw(bytes_damaged(path.read_bytes())))
        found = refused(lambda: load_arrays(path))
        assert found is None or {name: a.tobytes() for name, a in found.items()} == {
            name: a.tobytes() for name, a in whole.items()
        }

    def test_an_entry_that_hides_those_behind_it_is_refused(self, scratch: Path) -> None:
        path, whole = scratch / "hidden.npz", exported()
        np.savez_compressed(path, **whole)  # type: ignore[arg-type]
        content = bytearray(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            entry = archive.infolist()[-1]
        last = content.rindex(b"PK\x01\x02")
        before = content.rindex(b"PK\x01\x02", 0, last)
        size = 46 + len(entry.filename) + len(entry.extra)
        content[before + 32 : before + 34] = size.to_bytes(2, "little")  # its comment: all of the last entry
        path.write_bytes(content)
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == len(whole) - 1  # zipfile does not mind
        with pytest.raises(BitsliceError, match="is damaged: arrays are missing"):
            load_arrays(path)

    @given(st.data())
    def test_in_full_precision_are_refused_or_make_a_network(self, trained: Trained, data: st.DataObject) -> None:
        folder = trained.folder.with_name("states")
        folder.mkdir(exist_ok=True)
        arrays = data.draw(arrays_damaged(load_arrays(trained.folder / "quantized-s0.state.npz")))
        if data.draw(st.booleans()):
            config = data.draw(damaged(small(Method.QUANTIZED).to_dict()))
            arrays["config"] = np.array(json.dumps(config))
        np.savez(folder / "quantized-s0.state.npz", **arrays)  # type: ignore[arg-type]
        model = trained.records[Method.QUANTIZED].network()
        refused(lambda: states.load_state(model, small(Method.QUANTIZED), folder))
        logits = refused(lambda: model(torch.zeros(1, 1, 28, 28)))  # a scale may be what no scale can be
        assert logits is None or logits.shape == (1, 10)


class Trap:
    """Unpickling it leaves a file."""

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path("owned"),)


def test_nothing_in_a_file_is_run(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scratch)
    trap = np.array([Trap()], dtype=object)
    np.savez(scratch / "trap.npz", words=trap, config=trap)  # type: ignore[arg-type]
    (scratch / "quantized-s0.state.npz").write_bytes((scratch / "trap.npz").read_bytes())
    (scratch / "trap.json").write_bytes(pickle.dumps(Trap()))
    for attempt in (
        lambda: load(network(), scratch / "trap.npz"),
        lambda: states.load_state(network(), small(Method.QUANTIZED), scratch),
        lambda: records.read(scratch / "trap.json"),
    ):
        with pytest.raises(BitsliceError):
            attempt()
    assert not Path("owned").exists()
    pickle.loads(pickle.dumps(Trap()))
    assert Path("owned").exists()  # it would have


class TestAdcs:
    @given(st.text("0123456789x,-. idealx²", max_size=12))
    def test_in_words_are_refused_or_convert(self, text: str) -> None:
        found = refused(lambda: adcs(adc_setting(text)))
        assert found is None or len(found) == 4

    @example([3, {"bits": None}, None, 1])
    @example([3, {"bits": 3, "step": 10**300}, None, 1])
    @given(damaged([3, {"bits": 3, "step": 2}, None, 1]) | damaged({"fc": 8, "*": "3,3,3,1", "c": [3, None]}) | VALUES)
    def test_in_a_file_are_refused_or_convert(self, scratch: Path, content: Any) -> None:
        path = scratch / "adcs.json"
        path.write_text(json.dumps(content))
        found = refused(lambda: read_json(path, "choice of ADCs", from_json))
        if found is not None:
            assert isinstance(setting_name(found), str)
            assert from_json(json.loads(json.dumps(to_json(found)))) == found
            for bits in found.values() if isinstance(found, LayerAdcs) else [found]:
                refused(lambda bits=bits: [adc.convert(torch.arange(9)) for adc in adcs(bits)])


@given(st.text(max_size=20) | SCALARS.map(str), st.sampled_from(["int", "float", "bool", "str"]))
def test_parameters_of_notebooks_are_refused_or_become_nothing_but_values(text: str, kind: str) -> None:
    text = text.encode(errors="replace").decode()
    value = refused(lambda: notebooks.parse("x", text, kind))
    if value is not None:
        (statement,) = ast.parse(PythonTranslator.codify({"x": value})).body
        assert isinstance(statement, ast.Assign)
        calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
        assert all(isinstance(call.func, ast.Name) and call.func.id == "float" for call in calls)  # inf and nan
        assert repr(eval(ast.unparse(statement.value))) == repr(value)


WORDS = (
    "train crossbar report tolerance export fetch notebook results provenance doctor zoo mnist cifar10-resnet20 "
    "--method --profile --seed --alpha --pretrain-alpha --adc-bits --adc-mean --adc-levels --adc-rate --judge "
    "--headroom --row-order --input-scaling --rows --columns --cell-bits --dac-bits --signed-inputs --images --threads "
    "--json --out --device -p --help --version "
    "bl1 l1 column quantized pruned smoke quick paper unit spread offset 3,3,3,1 3x2,8,ideal,1 missing.json 0 -1 8 "
    "1e9 1e-3 nan -inf x"
)


@given(st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=5), max_size=9), st.booleans())
def test_command_lines_are_refused_or_understood(words: list[str], training: bool) -> None:
    lines = ["train", "mnist", "--method", "bl1"] if training else []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):  # of --help
        options = refused(lambda: parser().parse_args(lines + words))
        if options is not None and options.command == "train":
            config = refused(lambda: train.configuration(options))
            assert config is None or Config.from_dict(config.to_dict()) == config
        elif options is not None and options.command == "crossbar":
            refused(lambda: crossbar._crossbar(options))
            for text in getattr(options, "adc_bits", None) or []:
                refused(lambda text=text: crossbar._adcs(text))
            refused(lambda: crossbar._numbers("adc-mean", getattr(options, "adc_mean", None)))
