"""`lint` says what DeepSpeed does: a sample of what `benchmarks/truth.py` sweeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from random import Random

import pytest

from truth.cases import FACTORS, Case, batch, cases, pairs, rows
from truth.compare import FAULTS, compare
from truth.mistakes import MISTAKES
from truth.oracle import Oracle, Outcome

SEED, SAMPLE, PARTS = 20, 120, 6


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    started = Oracle()
    yield started
    started.close()


@pytest.fixture(scope="module")
def sample() -> list[Case]:
    return list(cases(SEED, SAMPLE))


@pytest.mark.parametrize("part", range(PARTS))
def test_lint_agrees_with_deepspeed(oracle, sample, part):
    found = [one for case in sample[part::PARTS] for one in compare(case, oracle.ask(case))]

    told = [f"{one.kind}: {one.detail}\n{one.case.world_size} ranks: {one.case.text}" for one in found]
    assert not [text for text, one in zip(told, found, strict=True) if one.kind in FAULTS], "\n\n".join(told)


def test_a_config_that_works_works_and_is_read_back(oracle):
    case = Case({"train_micro_batch_size_per_gpu": 2, "bf16": {"enabled": True}, "optimizer": {"type": "AdamW"}}, 2)

    outcome = oracle.ask(case)

    assert outcome.verdict == "works", outcome
    assert (outcome.in_force["train_batch_size"], outcome.in_force["precision"]) == (4, "bf16")


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("parse", {"zero_optimization": {"stage": 4}}),
        ("initialize", {"optimizer": {"type": "Nothing"}}),
        ("step", {"gradient_clipping": "auto"}),
    ],
)
def test_a_refusal_is_told_with_its_stage(oracle, stage, changes):
    base = {"train_micro_batch_size_per_gpu": 2, "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}}

    outcome = oracle.ask(Case(base | changes, 1))

    assert (outcome.verdict, outcome.stage) == ("refused", stage), outcome


@pytest.mark.parametrize("model", ["llama", "mixtral", "moe layer", "lora"])
def test_every_model_is_trained_and_read_back(oracle, model):
    config = {"train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 2}, "optimizer": {"type": "AdamW"}}

    outcome = oracle.ask(Case(config, 2, model=model))

    assert outcome.verdict == "works", outcome
    assert outcome.in_force["stage"] == 2


def test_every_model_is_drawn_but_tensor_parallelism_is_asked_of_one_that_can_be_split():
    drawn = list(cases(8, 400))

    assert {case.model for case in drawn} == {"llama", "mixtral", "moe layer", "lora"}
    assert {case.model for case in drawn if not case.mistake and "tensor_parallel" in case.config} == {"llama"}


def test_the_same_seed_gives_the_same_cases():
    assert list(cases(3, 40)) == list(cases(3, 40))
    assert list(cases(3, 40)) != list(cases(4, 40))


def test_every_other_case_has_a_mistake_and_every_mistake_comes_up():
    drawn = list(cases(5, 2 * len(MISTAKES)))

    assert [case.mistake is None for case in drawn] == [True, False] * len(MISTAKES)
    assert {case.mistake for case in drawn[1::2]} == set(MISTAKES)


def test_cases_are_json_and_leave_the_tables_alone():
    before = json.dumps(FACTORS)

    for case in cases(6, 400):
        assert json.loads(case.text) == case.config

    assert json.dumps(FACTORS) == before


def test_a_thousand_rows_cover_nearly_every_pair_of_choices():
    covered = set(itertools.chain.from_iterable(map(pairs, rows(Random(7), 1000))))
    sizes = [len(choices) for choices in FACTORS.values()]
    every = sum(one * other for one, other in itertools.combinations(sizes, 2))
    assert len(covered) > 0.98 * every


@pytest.mark.parametrize("form", FACTORS["batch"])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_a_batch_without_a_mistake_is_divisible(form, world):
    sizes = batch(form, world, steps=3, micro=2)

    steps, micro = sizes.get("gradient_accumulation_steps", 1), sizes.get("train_micro_batch_size_per_gpu", 1)
    assert sizes.get("train_batch_size", world * steps * micro) % (world * steps * micro) == 0


def test_smaller_cases_lose_a_rank_or_one_key():
    case = Case({"bf16": {"enabled": True}, "steps_per_print": 1}, 2)

    assert [(one.world_size, one.config) for one in case.smaller()] == [
        (1, case.config),
        (2, {"steps_per_print": 1}),
        (2, {"bf16": {"enabled": True}}),
        (2, {"bf16": {}, "steps_per_print": 1}),
    ]
    assert next(Case({}, 1, model="lora").smaller()) == Case({}, 1)


SOUND = {"train_micro_batch_size_per_gpu": 2, "gradient_clipping": 1.0}
READ_BACK = {
    "stage": 0,
    "precision": "fp32",
    "train_batch_size": 2,
    "train_micro_batch_size_per_gpu": 2,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 1.0,
    "offloads_optimizer": False,
    "grad_accum_dtype": "fp32",
}


def test_agreement_is_no_disagreement():
    assert compare(Case(SOUND, 1), Outcome("works", "done", in_force=READ_BACK)) == []


@pytest.mark.parametrize(
    ("config", "outcome", "kind"),
    [
        (SOUND, Outcome("refused", "step", "ValueError", "no"), "false accept"),
        (SOUND, Outcome("hangs", "save"), "false accept"),
        (SOUND, Outcome("refused", "initialize", "RuntimeError", "Unable to JIT load the async_io op"), "the machine"),
        (SOUND, Outcome("works", "done", in_force=READ_BACK | {"gradient_clipping": 0.5}), "not in force"),
        ({"gradient_clipping": 1.0}, Outcome("works", "done", in_force=READ_BACK), "false refusal"),
    ],
)
def test_disagreements_are_told_apart(config, outcome, kind):
    assert [one.kind for one in compare(Case(config, 1), outcome)] == [kind]
