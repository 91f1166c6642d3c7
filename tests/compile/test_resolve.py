"""Nothing is left to settle, and how each value came about is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zerotrain.compile.facts import DataFacts
from zerotrain.compile.resolve import Resolved, resolve, vocabulary_size
from zerotrain.errors import SpecError
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.run import RunSpec
from zerotrain.units import Duration, TimeSpan

Settled = Callable[..., Resolved]
Facts = Callable[..., DataFacts]


WITH_EVERYTHING_OPEN = {
    "precision": "bf16",
    "zero": "{stage: 3, offload_optimizer: {device: cpu}}",
    "export": "{}",
    "horizon": "3 epochs",
    "schedule": "{type: cosine, warmup: 1K tokens}",
    "checkpoint": "{save_every: 1 epoch}",
    "evaluation": "{every: 64 tokens}",
    "data": "{train: [{type: text, path: a.txt}], validation: [{type: text, path: /b.txt}], "
    "tokenizer: {type: bytes}, seq_len: 32}",
}


def test_no_auto_and_no_other_unit_than_steps_is_left(settled: Settled, facts: Facts) -> None:
    spec = settled(facts=facts(), **WITH_EVERYTHING_OPEN).spec
    text = json.dumps(spec.model_dump(mode="json"))

    assert '"auto"' not in text
    assert "epoch" not in text
    assert " tokens" not in text


def test_settling_what_is_settled_changes_nothing(settled: Settled, facts: Facts) -> None:
    once = settled(facts=facts(), **WITH_EVERYTHING_OPEN)
    elsewhere = Surroundings(directory=Path("/elsewhere"), cache=Path("/elsewhere"))
    again = resolve(once.spec, elsewhere, shape=once.shape, facts=facts())

    assert again.spec == once.spec
    assert again.derivations == {}
    assert (again.steps, again.topology) == (once.steps, once.topology)


@pytest.mark.parametrize(
    ("sections", "key", "value", "why"),
    [
        (
            {},
            "batch.gradient_accumulation_steps",
            1,
            "8 / (4 per rank x 2 data-parallel ranks)",
        ),
        (
            {"batch": "{global_batch_size: 24, micro_batch_size: 2}"},
            "batch.gradient_accumulation_steps",
            6,
            "24 / (2 per rank x 2 data-parallel ranks)",
        ),
        (
            {},
            "precision.grad_accum_dtype",
            "fp32",
            "gradients of many micro-batches and ranks are summed without loss in fp32",
        ),
        (
            {"precision": "bf16"},
            "precision.grad_accum_dtype",
            "bf16",
            "at ZeRO stage 0 DeepSpeed accumulates in the dtype of the weights, `bf16`",
        ),
        (
            {"precision": "bf16", "zero": "{stage: 1}"},
            "precision.grad_accum_dtype",
            "fp32",
            "gradients of many micro-batches and ranks are summed without loss in fp32",
        ),
        (
            {"precision": "autocast-bf16"},
            "precision.grad_accum_dtype",
            "fp32",
            "gradients of many micro-batches and ranks are summed without loss in fp32",
        ),
        (
            {"precision": "{dtype: bf16, grad_accum_dtype: bf16}", "zero": "{stage: 1}"},
            "precision.communication_dtype",
            "bf16",
            "the same as `precision.grad_accum_dtype`, `bf16`",
        ),
        ({}, "zero.overlap_comm", False, "hardware is `cpu`"),
        (
            {"hardware": "{gpu: H100-SXM, gpus_per_node: 2}"},
            "zero.overlap_comm",
            True,
            "hardware is `H100-SXM`",
        ),
        (
            {},
            "zero.reduce_bucket_size",
            2_000_000,
            "hidden_size 64 squared, at least 2000000, at most 500000000",
        ),
        (
            {"model": "{architecture: llama, config: {hidden_size: 8192}}"},
            "zero.reduce_bucket_size",
            8192**2,
            "hidden_size 8192 squared, at least 2000000, at most 500000000",
        ),
        (
            {"model": "{architecture: llama, config: {hidden_size: 32768}}"},
            "zero.reduce_bucket_size",
            500_000_000,
            "hidden_size 32768 squared, at least 2000000, at most 500000000",
        ),
        ({}, "zero.prefetch_bucket_size", int(0.9 * 64 * 64), "0.9 x hidden_size 64 squared"),
        ({}, "zero.param_persistence_threshold", 640, "10 x hidden_size 64"),
        (
            {"zero": "{stage: 2, reduce_bucket_size: 7_000_001}"},
            "zero.allgather_bucket_size",
            7_000_000,
            "the same as `zero.reduce_bucket_size`, made even, as DeepSpeed asks",
        ),
        ({"export": "{}", "precision": "fp16"}, "export.dtype", "fp16", "`precision.dtype` is `fp16`"),
        (
            {"export": "{}", "precision": "autocast-bf16"},
            "export.dtype",
            "fp32",
            "`precision.dtype` is `autocast-bf16`",
        ),
        ({}, "model.config.vocab_size", 257, "the size of the tokenizer's vocabulary"),
        (
            {"horizon": "1000 tokens"},
            "horizon",
            Duration.steps(4),
            "1000 tokens / 8 samples x 32 tokens per step, rounded up",
        ),
        (
            {"horizon": "2K tokens", "schedule": "{type: cosine, warmup: 256 tokens}"},
            "schedule.warmup",
            Duration.steps(1),
            "256 tokens / 8 samples x 32 tokens per step, rounded up",
        ),
        (
            {"launch": "{type: local, timeout: 3 minutes}"},
            "health.hang",
            TimeSpan.parse("120 seconds"),
            "two thirds of `launch.timeout`",
        ),
        (
            {"checkpoint": "{save_every: 257 tokens}"},
            "checkpoint.save_every",
            Duration.steps(2),
            "257 tokens / 8 samples x 32 tokens per step, rounded up",
        ),
    ],
)
def test_an_open_value_is_settled_and_its_derivation_told(
    settled: Settled, sections: dict[str, str], key: str, value: object, why: str
) -> None:
    resolved = settled(**sections)
    found: object = resolved.spec
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)

    assert found == value
    assert resolved.derivations[key] == why


def test_what_is_given_is_kept_and_not_derived(settled: Settled) -> None:
    resolved = settled(
        batch="{global_batch_size: 8, micro_batch_size: 2, gradient_accumulation_steps: 2}",
        precision="{dtype: bf16, grad_accum_dtype: bf16, communication_dtype: fp32}",
        zero="{stage: 3, overlap_comm: true, reduce_bucket_size: 5, allgather_bucket_size: 7, prefetch_bucket_size: 0, "
        "param_persistence_threshold: 0}",
        export="{dtype: fp16, weights: model}",
        model="{architecture: llama, config: {vocab_size: 300}}",
        health="{hang: 5 minutes}",
    )
    zero = resolved.spec.zero

    assert resolved.derivations == {}
    assert (zero.overlap_comm, zero.reduce_bucket_size, zero.allgather_bucket_size) == (True, 5, 7)
    assert (zero.prefetch_bucket_size, zero.param_persistence_threshold) == (0, 0)
    assert resolved.spec.precision.communication_dtype == "fp32"
    assert resolved.spec.model.config["vocab_size"] == 300


def test_an_epoch_has_as_many_steps_as_the_data_has_batches(settled: Settled, facts: Facts) -> None:
    resolved = settled(horizon="2 epochs", schedule="{type: linear, warmup: 1 epoch}", facts=facts(train_samples=1001))

    assert resolved.steps == 251
    assert resolved.spec.horizon == Duration.steps(251)
    assert resolved.spec.schedule.warmup == Duration.steps(126)
    assert resolved.derivations["horizon"] == "2 x 1001 samples / 8 samples per step, rounded up"


def test_epochs_stay_open_until_the_data_is_prepared(settled: Settled) -> None:
    resolved = settled(horizon="2 epochs")

    assert resolved.steps is None
    assert resolved.spec.horizon == Duration(2, "epochs")


def test_the_data_gives_the_special_tokens_and_the_vocabulary(settled: Settled, facts: Facts) -> None:
    config = settled(
        model="{architecture: llama, config: {pad_token_id: 3}}",
        data="{train: [{type: python_stdlib}], tokenizer: {type: pretrained, path: p}, seq_len: 8}",
        facts=facts(vocab_size=999, eos_token_id=7),
    ).spec.model.config

    assert config == {"bos_token_id": 7, "eos_token_id": 7, "pad_token_id": 3, "vocab_size": 999}


def test_a_pretrained_model_keeps_its_own_config_and_gives_its_tokenizer(settled: Settled, facts: Facts) -> None:
    spec = settled(
        model="{pretrained: org/name}",
        data="{train: [{type: python_stdlib}], tokenizer: {type: pretrained}, seq_len: 8}",
        facts=facts(),
    ).spec

    assert spec.model.config == {}
    assert spec.data.tokenizer.path == "org/name"  # type: ignore[union-attr]


def test_paths_become_absolute(settled: Settled) -> None:
    data = settled(**WITH_EVERYTHING_OPEN).spec.data

    assert [source.path for source in (*data.train, *data.validation)] == [  # type: ignore[union-attr]
        "/work-dir/a.txt",
        "/b.txt",
    ]
    assert data.cache == "/cache-dir/data"


@pytest.mark.parametrize(("cache", "path"), [("here", "/work-dir/here"), ("/there", "/there")])
def test_a_cache_of_ones_own_starts_from_the_working_directory(settled: Settled, cache: str, path: str) -> None:
    data = f"{{train: [{{type: python_stdlib}}], tokenizer: {{type: bytes}}, seq_len: 8, cache: {cache}}}"

    assert settled(data=data).spec.data.cache == path


@pytest.mark.parametrize("world_size", [1, 2, 4, 3, 6])
def test_a_world_size_stands_in_the_settled_hardware(settled: Settled, world_size: int) -> None:
    resolved = settled(world_size=world_size, batch=f"{{global_batch_size: {12 * world_size}, micro_batch_size: 4}}")
    hardware = resolved.spec.hardware

    assert hardware.num_nodes * hardware.gpus_per_node == world_size == resolved.topology.world_size
    assert resolved.spec.batch.gradient_accumulation_steps == 3


@given(micro=st.integers(1, 64), accumulation=st.integers(1, 64), ranks=st.integers(1, 64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_accumulation_fills_the_global_batch(settled: Settled, micro: int, accumulation: int, ranks: int) -> None:
    total = micro * accumulation * ranks
    batch = settled(batch=f"{{global_batch_size: {total}, micro_batch_size: {micro}}}", world_size=ranks).spec.batch

    assert batch.gradient_accumulation_steps == accumulation


@pytest.mark.parametrize(
    ("sections", "code", "key", "message", "help"),
    [
        (
            {"batch": "{global_batch_size: 100, micro_batch_size: 8}"},
            "ZT101",
            "batch.global_batch_size",
            "100 is not a multiple of 16 (8 per rank x 2 data-parallel ranks)",
            "use 96 or 112",
        ),
        (
            {"batch": "{global_batch_size: 4, micro_batch_size: 8}"},
            "ZT101",
            "batch.global_batch_size",
            "4 is not a multiple of 16 (8 per rank x 2 data-parallel ranks)",
            "use 16, or a smaller micro-batch",
        ),
        (
            {"batch": "{global_batch_size: 32, micro_batch_size: 4, gradient_accumulation_steps: 2}"},
            "ZT102",
            "batch.gradient_accumulation_steps",
            "4 per rank x 2 steps x 2 ranks is 16, not 32",
            "use 4, or leave it `auto`",
        ),
        (
            {"parallel": "{tp: 4}"},
            "ZT401",
            "parallel",
            "a world size of 2 is not a multiple of tp 4 x pp 1 x sp 1 = 4",
            "use a multiple of 4 ranks, or smaller degrees",
        ),
        (
            {"parallel": "{tp: 2}", "hardware": "{gpus_per_node: 5}"},
            "ZT401",
            "parallel",
            "a world size of 5 is not a multiple of tp 2 x pp 1 x sp 1 = 2",
            "use a multiple of 2 ranks, or smaller degrees",
        ),
    ],
)
def test_what_has_no_solution_is_refused_with_the_nearest(
    settled: Settled, sections: dict[str, str], code: str, key: str, message: str, help: str
) -> None:
    with pytest.raises(SpecError) as refused:
        settled(**sections)

    (finding,) = refused.value.findings
    assert (finding.code, finding.place.key, finding.message, finding.help) == (code, key, message, help)


@pytest.mark.parametrize(
    "sections",
    [
        {"batch": f"{{global_batch_size: {10**399 + 1}, micro_batch_size: 2}}"},
        {"model": f"{{architecture: llama, config: {{hidden_size: {10**200}, num_attention_heads: 1}}}}"},
    ],
    ids=["batch", "hidden size"],
)
def test_numbers_beyond_floats_are_settled_or_refused(settled: Settled, sections: dict[str, str]) -> None:
    try:
        settled(**sections)
    except SpecError as refused:
        assert refused.findings


def test_the_nearest_batches_of_a_large_one_are_exact(settled: Settled) -> None:
    with pytest.raises(SpecError) as refused:
        settled(batch=f"{{global_batch_size: {2**60 + 1}, micro_batch_size: 1}}")

    assert refused.value.findings[0].help == f"use {2**60} or {2**60 + 2}"


@pytest.mark.parametrize(
    ("tokenizer", "size"),
    [("{type: bytes}", 257), ("{type: bpe, vocab_size: 999}", 999), ("{type: pretrained, path: p}", None)],
)
def test_the_vocabulary_is_known_before_the_data_where_the_spec_says_it(
    spec: Callable[..., RunSpec], facts: Facts, tokenizer: str, size: int | None
) -> None:
    read = spec(data=f"{{train: [{{type: python_stdlib}}], tokenizer: {tokenizer}, seq_len: 8}}")

    assert vocabulary_size(read) == size
    assert vocabulary_size(read, facts(vocab_size=12)) == (size or 12)


def test_the_decay_of_a_wsd_schedule_is_in_steps(settled: Settled, facts: Facts) -> None:
    resolved = settled(horizon="2 epochs", schedule="{type: wsd, decay: 1 epoch}", facts=facts(train_samples=1001))

    assert resolved.spec.schedule.model_dump()["decay"] == "126 steps"


@pytest.mark.parametrize(
    ("written", "settled_as"),
    [("org/name", "org/name"), ("./teacher", "/work-dir/teacher"), ("/weights/teacher", "/weights/teacher")],
)
def test_a_teacher_in_a_folder_is_found_from_anywhere(settled: Settled, written: str, settled_as: str) -> None:
    resolved = settled(task=f"{{type: distill, teacher: {{pretrained: {written}}}}}")

    assert resolved.spec.task.teacher.pretrained == settled_as


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", "bf16"), ("autocast-bf16", "bf16"), ("fp16", "fp32"), ("fp32", "fp32")]
)
def test_a_teacher_computes_in_the_student_s_dtype(settled: Settled, precision: str, dtype: str) -> None:
    resolved = settled(task="{type: distill, teacher: {pretrained: org/name}}", precision=precision)

    assert resolved.spec.task.teacher.dtype == dtype
    assert resolved.derivations["task.teacher.dtype"] == f"`precision.dtype` is `{precision}`"


DROPOUT = {
    "llama": {"attention_dropout"},
    "gpt2": {"attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_first_dropout"},
    "bert": {"attention_probs_dropout_prob", "classifier_dropout", "hidden_dropout_prob"},
}


@pytest.mark.parametrize("architecture", DROPOUT)
def test_one_dropout_is_that_of_every_key_of_the_architecture(settled: Settled, architecture: str) -> None:
    task = "{type: sequence_classification}"
    resolved = settled(model=f"{{architecture: {architecture}, dropout: 0.25}}", task=task)

    given = {key: value for key, value in resolved.spec.model.config.items() if "drop" in key}
    assert given == dict.fromkeys(DROPOUT[architecture], 0.25)
    assert {resolved.derivations[f"model.config.{key}"] for key in given} == {"`model.dropout` is 0.25"}


def test_a_dropout_key_that_is_given_stays(settled: Settled) -> None:
    resolved = settled(model="{architecture: gpt2, dropout: 0.25, config: {embd_pdrop: 0.0}}")

    assert (resolved.spec.model.config["embd_pdrop"], resolved.spec.model.config["attn_pdrop"]) == (0.0, 0.25)
    assert "model.config.embd_pdrop" not in resolved.derivations
