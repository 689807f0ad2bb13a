"""Configurations: complete, frozen, and the same after a trip through JSON."""

import dataclasses
import json
import math
from itertools import product

import pytest

from bitslice.errors import BitsliceError
from bitslice.lab.checks import differing_fields
from bitslice.lab.config import Config
from bitslice.lab.experiments import EXPERIMENTS, cifar10, mnist, run_name
from bitslice.lab.models import NETWORKS, build
from bitslice.lab.names import by_name, by_value
from bitslice.lab.words import InputScaling, Method, Profile, RegularizerKind
from tests.conftest import QUANTIZED_METHODS

PROFILES = {
    name: (Profile.SMOKE, *((Profile.QUICK,) if name == "mnist" else (Profile.CPU, Profile.LONG)), Profile.PAPER)
    for name in EXPERIMENTS
}


@pytest.mark.parametrize(
    ("experiment", "method", "profile"),
    [(name, method, profile) for name in EXPERIMENTS for method, profile in product(Method, PROFILES[name])],
)
def test_every_configuration_survives_json(experiment: str, method: Method, profile: Profile) -> None:
    for scaling in InputScaling:
        config = EXPERIMENTS[experiment](method, profile, seed=3, input_scaling=scaling)
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert config.experiment == experiment
        assert config.network in NETWORKS


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        mnist(Method.BL1).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("method", QUANTIZED_METHODS)
def test_paper_profile_has_the_settings_of_the_authors_code(method: Method) -> None:
    config = mnist(method, Profile.PAPER)
    assert config.bits == config.activation_bits == 8
    assert config.train_images is config.test_images is None
    pretrain = config.pretrain
    assert (pretrain.epochs, pretrain.learning_rate, pretrain.momentum, pretrain.batch_size) == (100, 0.01, 0.5, 64)
    assert (pretrain.regularizer, pretrain.alpha) == (RegularizerKind.L1, 10)
    if method is Method.QUANTIZED:
        assert config.finetune is None
        assert config.prune_threshold is None
        return
    assert config.prune_threshold == (None if method is Method.COLUMN else 0.01)
    finetune = config.finetune
    assert finetune is not None
    assert (finetune.epochs, finetune.learning_rate, finetune.momentum, finetune.batch_size) == (50, 0.01, 0.5, 64)
    regularizers = {Method.L1: RegularizerKind.L1, Method.BL1: RegularizerKind.BIT_SLICE_L1}
    assert finetune.regularizer is regularizers.get(method)
    alphas = {Method.PRUNED: None, Method.L1: 10, Method.BL1: 0.5, Method.BL0: 32, Method.COLUMN: 5}
    assert config.alpha == alphas[method]
    assert finetune.alpha == (0 if finetune.regularizer is None else alphas[method])
    assert finetune.slice_price == (32 if method is Method.BL0 else None)
    assert finetune.column_weights == (5 if method is Method.COLUMN else None)


def test_profiles_grow() -> None:
    for name, profiles in PROFILES.items():
        epochs = [EXPERIMENTS[name](Method.PRUNED, profile).pretrain.epochs for profile in profiles]
        assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("alpha", [-1.0, -1e-9, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("method", [Method.L1, Method.BL1, Method.BL0])
def test_alpha_must_be_a_finite_number_from_zero(method: Method, alpha: float) -> None:
    with pytest.raises(BitsliceError, match=f"alpha must be a finite number, 0 or larger, not {alpha}"):
        mnist(method, alpha=alpha)


@pytest.mark.parametrize("method", [Method.QUANTIZED, Method.PRUNED])
def test_alpha_does_not_apply_without_a_regularizer(method: Method) -> None:
    with pytest.raises(BitsliceError, match=f"{method.value} has no regularizer"):
        mnist(method, alpha=0.0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_must_be_one_that_the_generators_take(seed: int) -> None:
    with pytest.raises(BitsliceError, match="seed"):
        mnist(Method.BL1, seed=seed)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (mnist(Method.QUANTIZED), "quantized-s0"),
        (mnist(Method.PRUNED, seed=12), "pruned-s12"),
        (mnist(Method.BL1), "bl1-s0"),
        (mnist(Method.BL1, alpha=0.5), "bl1-s0"),
        (mnist(Method.BL1, alpha=0.0, seed=4), "bl1-a0-s4"),
        (mnist(Method.L1, alpha=0.5, seed=1), "l1-a0.5-s1"),
        (mnist(Method.BL0, alpha=8), "bl0-a8-s0"),
        (mnist(Method.COLUMN, alpha=10), "column-a10-s0"),
        (mnist(Method.L1, Profile.PAPER, alpha=20), "l1-a20-s0"),
        (mnist(Method.L1, alpha=3, input_scaling=InputScaling.NORMALIZED), "l1-a3-normalized-s0"),
        (mnist(Method.QUANTIZED, pretrain_alpha=0), "quantized-p0-s0"),
        (mnist(Method.BL1, pretrain_alpha=10), "bl1-s0"),
        (mnist(Method.BL1, Profile.PAPER, 1, 0.2, InputScaling.NORMALIZED, 2.5), "bl1-a0.2-p2.5-normalized-s1"),
        (cifar10("resnet20", Method.PRUNED, pretrain_alpha=10), "pruned-p10-s0"),
        (cifar10("resnet20", Method.PRUNED, pretrain_alpha=5), "pruned-s0"),
        (mnist(Method.FLOAT, pretrain_alpha=0), "float-s0"),
        (cifar10("resnet20", Method.BL1, Profile.LONG, 1, 0.2), "bl1-long-a0.2-s1"),
    ],
)
def test_a_records_name_tells_method_and_seed_and_what_is_not_default(config: Config, name: str) -> None:
    assert run_name(config) == name


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_alphas_of_a_sweep_have_names_of_their_own_and_include_the_default(experiment: str) -> None:
    make = EXPERIMENTS[experiment]
    for method, alphas in EXPERIMENTS[experiment].sweep.items():
        assert len(alphas) >= 3
        assert make(method).alpha in alphas
        assert len({run_name(make(method, alpha=alpha)) for alpha in alphas}) == len(alphas)


@pytest.mark.parametrize("method", QUANTIZED_METHODS)
def test_all_methods_start_from_the_same_pretrained_network(method: Method) -> None:
    for scaling in InputScaling:
        start = mnist(method, Profile.SMOKE, seed=5, input_scaling=scaling).pretrained()
        assert start == mnist(Method.QUANTIZED, Profile.SMOKE, seed=5, input_scaling=scaling)
        assert start.pretrained() == start


@pytest.mark.parametrize("method", QUANTIZED_METHODS)
def test_pretraining_without_its_regularizer_changes_nothing_else(method: Method) -> None:
    config, usual = mnist(method, pretrain_alpha=0), mnist(method)
    assert (config.pretrain.regularizer, config.pretrain.alpha) == (None, 0)
    assert dataclasses.replace(config, pretrain=usual.pretrain) == usual
    assert config.pretrained() == mnist(Method.QUANTIZED, pretrain_alpha=0)
    stronger = dataclasses.replace(usual.pretrain, alpha=20.0)
    assert mnist(method, pretrain_alpha=20.0).pretrain == stronger


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf])
def test_alpha_of_pretraining_must_be_a_finite_number_from_zero(alpha: float) -> None:
    with pytest.raises(BitsliceError, match=f"alpha must be a finite number, 0 or larger, not {alpha}"):
        mnist(Method.BL1, pretrain_alpha=alpha)
    with pytest.raises(BitsliceError, match="float is pre-trained without a regularizer"):
        mnist(Method.FLOAT, pretrain_alpha=alpha)


def test_equal_configurations_do_not_differ() -> None:
    assert differing_fields(mnist(Method.BL1).to_dict(), mnist(Method.BL1).to_dict()) == []


def test_differing_fields_are_named_with_both_values() -> None:
    ours, theirs = mnist(Method.BL1, Profile.PAPER), mnist(Method.BL1, Profile.PAPER, seed=1, alpha=2.0)
    assert differing_fields(ours.to_dict(), theirs.to_dict()) == ["finetune.alpha is 2.0, not 0.5", "seed is 1, not 0"]


def test_fields_that_only_one_side_has_differ() -> None:
    assert differing_fields({"a": 1}, {"b": {"c": 2}}) == ["a is None, not 1", "b is {'c': 2}, not None"]


def test_unknown_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(BitsliceError, match="unknown experiment 'cifar'; choose from mnist"):
        by_name("experiment", EXPERIMENTS, "cifar")
    with pytest.raises(BitsliceError, match="unknown method 'BL1'; choose from float, quantized, pruned, l1, bl1, bl0"):
        by_value(Method, "BL1")
    with pytest.raises(BitsliceError, match="unknown network 'vgg'; choose from mlp"):
        build("vgg")


def test_known_names_are_found() -> None:
    assert by_name("experiment", EXPERIMENTS, "mnist").configure is mnist
    assert by_value(Profile, "smoke") is Profile.SMOKE


def test_mnist_perceptron_has_the_papers_size() -> None:
    assert sum(p.numel() for p in build("mlp").parameters()) == 784 * 100 + 100 + 100 * 10 + 10
