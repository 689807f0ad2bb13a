"""What pre-training without L1 does, read off records with known numbers."""

from dataclasses import replace

from bitslice.book import analysis, tables
from bitslice.lab.experiments import mnist
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile
from tests.test_analysis import record

WITH = [
    record(Method.QUANTIZED, 0, None, 97.5, 5.0),
    record(Method.PRUNED, 0, None, 97.8, 5.0),
    record(Method.L1, 0, None, 97.6, 4.0),
    record(Method.BL1, 0, None, 97.3, 2.5),
    record(Method.BL1, 1, None, 97.3, 2.0),  # has no twin
]


def without(run: Record, density: float) -> Record:
    config = mnist(run.config.method, Profile.PAPER, run.config.seed, pretrain_alpha=0.0)
    return replace(run, config=config, final={**run.final, "mean_density": density, "density": [density] * 4})


TWINS = [without(run, density) for run, density in zip(WITH, (48.0, 36.0, 6.0, 3.0), strict=False)]


def test_runs_pre_trained_both_ways_are_paired_by_seed() -> None:
    found = analysis.pretrained([*WITH, *TWINS], "mnist")
    assert {method: list(runs) for method, runs in found.with_l1.items()} == {
        run.config.method: [run] for run in WITH[:4]
    }
    assert {method: list(runs) for method, runs in found.without.items()} == {run.config.method: [run] for run in TWINS}
    assert analysis.times_denser(found.without, Method.PRUNED).values == (12.0,)
    assert tables.pretraining(found)[1] == {
        "Method": "Pruned",
        "n": "1",
        "With L1, accuracy (%)": "97.80",
        "With L1, density (%)": "5.00",
        "without, accuracy (%)": "97.80",
        "without, density (%)": "36.00",
    }


def test_the_finding_tells_both_ratios_and_what_they_cost() -> None:
    found = analysis.pretraining_finding(analysis.pretrained([*WITH, *TWINS], "mnist"))
    assert found is not None
    assert found.replace("\N{NO-BREAK SPACE}", " ") == (
        "Pre-trained with L1, pruned networks have 5.0% of their cells set, without it 36.0%. With it bit-slice L1 is "
        "2.00x sparser than pruning alone and 1.60x than L1 (0.50 points less accurate than pruning alone), without it "
        "12.00x sparser than pruning alone and 2.00x than L1 (0.50 points), at the authors' alphas (n=1)."
    )
    assert analysis.pretraining_finding(analysis.pretrained([*WITH, *TWINS[:3]], "mnist")) is None
