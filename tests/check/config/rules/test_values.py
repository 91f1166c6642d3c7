"""DeepSpeed configs: kinds and ranges of values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Fix, Severity

Lint = Callable[..., list[Diagnostic]]
Refusal = Callable[[dict[str, Any]], str | None]

REFUSALS = {"ZT930", "ZT931", "ZT932", "ZT933", "ZT934", "ZT938"}
OTHER_ROOMS = {
    "bf16.bf16_master_weights_and_grads",
    "bf16.bf16_optimizer_states",
    "bfloat16.bf16_master_weights_and_grads",
    "bfloat16.bf16_optimizer_states",
    "compile.passes",
    "fp16.fp16_master_weights_and_grads",
    "zero_optimization.compute_grad_norm",
    "zero_optimization.offload_optimizer.ratio",
    "zero_optimization.zenflow.update_interval",
}
"""Keys whose values DeepSpeed refuses because of other keys, or inside a list."""
VALUES = (None, True, False, 0, 1, -1, 1.0, 1.5, 5e8, "1", "1.0", "yes", "x", "", [], [1], ["a"], {})


@pytest.fixture(scope="module")
def refusal() -> Refusal:
    """Returns what DeepSpeed itself says against a config, or None."""
    from deepspeed.runtime.config import DeepSpeedConfig

    def run(config: dict[str, Any]) -> str | None:
        try:
            DeepSpeedConfig(copy.deepcopy(config))
        except Exception as refused:
            return str(refused) or type(refused).__name__
        return None

    return run


def config(path: str, value: object) -> dict[str, Any]:
    """A config DeepSpeed takes, with a value at a dotted path."""
    whole: dict[str, Any] = {"train_batch_size": 1}
    *parents, name = path.split(".")
    section = whole
    for parent in parents:
        section = section.setdefault(parent, {})
    section[name] = value
    return whole


def at(path: str, findings: list[Diagnostic]) -> dict[str, Diagnostic]:
    return {finding.code: finding for finding in findings if finding.place.key == path}


CHECKED = sorted(
    f"{path}.{name}"
    for path, section in schema_of().sections.items()
    for name in section.keys
    if section.strict and f"{path}.{name}" not in OTHER_ROOMS
)


@pytest.mark.parametrize("path", CHECKED)
def test_zt930_to_zt934_refuse_what_deepspeed_refuses_of_every_checked_key(
    lint: Lint, refusal: Refusal, path: str
) -> None:
    differences = [
        (value, refused, sorted(found))
        for value in VALUES
        for refused, found in [(refusal(config(path, value)), set(at(path, lint(config(path, value)))) & REFUSALS)]
        if bool(found) != (refused is not None)
    ]

    assert differences == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("zero_optimization.reduce_bucket_size", 1.5, "is `1.5`; it must be a whole number"),
        ("fp16.enabled", "CPU", 'is the text `"CPU"`; it must be true or false'),
        ("fp16.loss_scale", True, "is `true`; it must be a number"),
        ("tensor_parallel.dtype", "bf16", "it must be a Python object, which a file cannot hold"),
    ],
)
def test_zt930_a_value_of_the_wrong_kind(lint: Lint, refusal: Refusal, path: str, value: object, message: str) -> None:
    finding = at(path, lint(config(path, value)))["ZT930"]

    assert (finding.severity, message in finding.message) == (Severity.ERROR, True)
    assert refusal(config(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("zero_optimization.reduce_bucket_size", 5e8),
        ("zero_optimization.reduce_bucket_size", "3"),
        ("wandb.enabled", "yes"),
        ("zero_optimization.overlap_comm", None),
        ("zero_optimization.leaf_module.classes", "a.B"),
    ],
)
def test_zt930_lets_values_be_that_deepspeed_converts(lint: Lint, refusal: Refusal, path: str, value: object) -> None:
    assert not set(at(path, lint(config(path, value)))) & REFUSALS
    assert refusal(config(path, value)) is None


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("zero_optimization.reduce_bucket_size", 0, "above 0"),
        ("zero_optimization.allgather_bucket_size", -1, "at least 0"),
        ("zero_optimization.zenflow.topk_ratio", 1.0, "below 1"),
        ("zero_optimization.zenflow.auto_ratio", 1.5, "at most 1"),
    ],
)
def test_zt931_a_number_out_of_range(lint: Lint, refusal: Refusal, path: str, value: object, bound: str) -> None:
    assert at(path, lint(config(path, value)))["ZT931"].message.endswith(f"it must be {bound}")
    assert refusal(config(path, value))
    assert "ZT931" not in at(path, lint(config(path, 0.5)))


@pytest.mark.parametrize(
    ("path", "value", "good"),
    [
        ("zero_optimization.stage", 4, "3"),
        ("zero_optimization.offload_param.device", "CPU", "cpu"),
        ("communication_data_type", "bfloat16", "BF16"),
        ("gradient_allreduce_op", "max", "Sum"),
        ("checkpoint.tag_validation", "maybe", "Warn"),
        ("checkpoint.writer.type", "slow", "python"),
        ("torch_autocast.dtype", "fp15", "bfloat16"),
    ],
)
def test_zt932_a_value_that_is_no_choice(lint: Lint, refusal: Refusal, path: str, value: object, good: object) -> None:
    assert at(path, lint(config(path, value)))["ZT932"].severity is Severity.ERROR
    assert refusal(config(path, value))
    assert "ZT932" not in at(path, lint(config(path, good)))
    assert refusal(config(path, good)) is None


@pytest.mark.parametrize("value", ["loud", 3])
def test_zt932_a_log_level_that_is_none(lint: Lint, value: object) -> None:
    assert "ZT932" in at("log_level", lint(config("log_level", value)))
    assert "ZT932" not in at("log_level", lint(config("log_level", "INFO")))


@pytest.mark.parametrize(
    "path", ["train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping", "steps_per_print"]
)
def test_zt933_a_number_at_the_top_level_as_text(lint: Lint, path: str) -> None:
    finding = at(path, lint(config(path, "4")))["ZT933"]

    assert finding.fix == Fix("remove the quotes", path, 4)
    assert "ZT933" not in at(path, lint(config(path, 4)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.params.lr", "1e-4"),
        ("optimizer.params.weight_decay", "none"),
        ("optimizer.params.betas", ["0.9", "0.95"]),
        ("scheduler.params.warmup_num_steps", "100"),
        ("scheduler.params.total_num_steps", "1000"),
    ],
)
def test_zt933_a_parameter_as_text(lint: Lint, path: str, value: object) -> None:
    assert "ZT933" in at(path, lint(config(path, value)))


def test_zt933_lets_numbers_and_texts_in_their_place_be(lint: Lint) -> None:
    found = lint({**config("optimizer.params.lr", 1e-4), **config("scheduler.params.warmup_type", "linear")})

    assert not {"ZT933"} & {finding.code for finding in found}


def test_zt933_a_clipping_of_null_but_not_a_batch_size_of_null(lint: Lint) -> None:
    assert "ZT933" in at("gradient_clipping", lint(config("gradient_clipping", None)))
    assert "ZT933" not in at("steps_per_print", lint(config("steps_per_print", None)))


def test_zt933_the_optimizers_do_fail_on_text() -> None:
    import torch

    with pytest.raises(TypeError):
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr="1e-4")  # pyright: ignore[reportArgumentType]


SECTIONS = sorted(
    f"{path}.{name}".removeprefix(".")
    for path, section in schema_of().sections.items()
    for name, key in section.keys.items()
    if key.section and "*" not in path
)


@pytest.mark.parametrize("path", SECTIONS)
def test_zt934_refuses_what_deepspeed_refuses_in_place_of_every_section(
    lint: Lint, refusal: Refusal, path: str
) -> None:
    differences = [
        (value, refused, sorted(found))
        for value in (None, True, False, 0, 1, "", "x", [], [1], {})
        for refused, found in [(refusal(config(path, value)), set(at(path, lint(config(path, value)))) & REFUSALS)]
        if bool(found) != (refused is not None)
    ]

    assert differences == []


def test_zt934_offers_the_section_for_a_switch(lint: Lint) -> None:
    assert at("bf16", lint(config("bf16", True)))["ZT934"].help == 'write `{"enabled": true}`'


@pytest.mark.parametrize(("value", "stage"), [(True, 1), (False, 0)])
def test_zt935_the_old_form_of_zero(lint: Lint, refusal: Refusal, value: bool, stage: int) -> None:
    given = config("zero_optimization", value)

    finding = at("zero_optimization", lint(given))["ZT935"]

    assert finding.help == f'write `{{"stage": {stage}}}`'
    assert refusal(given) is None
    assert "ZT935" not in at("zero_optimization", lint(config("zero_optimization", {"stage": 1})))


@pytest.mark.parametrize(("value", "counts"), [("false", "true"), ("no", "true"), ("", "false")])
def test_zt936_a_switch_as_text(lint: Lint, refusal: Refusal, value: str, counts: str) -> None:
    given = config("prescale_gradients", value)

    assert at("prescale_gradients", lint(given))["ZT936"].message.endswith(f"which counts as {counts}")
    assert refusal(given) is None
    assert "ZT936" not in at("prescale_gradients", lint(config("prescale_gradients", False)))


def test_zt936_leaves_a_switch_to_zt930_that_deepspeed_checks(lint: Lint) -> None:
    assert not at("fp16.enabled", lint(config("fp16.enabled", "false")))


def test_zt937_a_number_as_text_that_deepspeed_hands_on(lint: Lint) -> None:
    path = "flops_profiler.profile_step"

    assert at(path, lint(config(path, "10")))["ZT937"].severity is Severity.WARNING
    assert "ZT937" not in at(path, lint(config(path, 10)))


@pytest.mark.parametrize(
    ("path", "bad", "good"),
    [
        ("wall_clock_breakdown", "true", 1),
        ("wall_clock_breakdown", None, False),
        ("flops_profiler.enabled", "true", True),
        ("checkpoint.parallel_write.pipeline_stage", "true", True),
        ("optimizer.type", 1, None),
        ("autotuning.results_dir", "", "there"),
        ("torch_autocast.lower_precision_safe_modules", None, []),
        ("data_types.keep_in_fp32_modules", "norm", ["norm"]),
    ],
)
def test_zt938_a_value_deepspeed_fails_on_at_once(
    lint: Lint, refusal: Refusal, path: str, bad: object, good: object
) -> None:
    assert "ZT938" in at(path, lint(config(path, bad)))
    assert refusal(config(path, bad))
    assert "ZT938" not in at(path, lint(config(path, good)))
    assert refusal(config(path, good)) is None


@pytest.mark.parametrize("placeholder", ["GBSIZE", "MICRO_BATCH_SIZE", "{{ batch }}", "${BATCH}", "<batch size>"])
def test_zt939_one_finding_for_all_placeholders_of_a_template(lint: Lint, placeholder: str) -> None:
    template = {
        "train_batch_size": placeholder,
        "prescale_gradients": placeholder,
        "zero_optimization": {"stage": placeholder, "reduce_bucket_size": placeholder},
        "optimizer": {"type": "AdamW", "params": {"lr": placeholder}},
    }

    found = lint(template)

    [finding] = [finding for finding in found if finding.code == "ZT939"]
    assert finding.message == f"`train_batch_size` is the placeholder `{placeholder}`, and 3 more"
    assert not (REFUSALS | {"ZT936", "ZT937"}) & {finding.code for finding in found}


@pytest.mark.parametrize(
    ("path", "value"),
    [("zero_optimization.offload_param.device", "NVME"), ("wandb.enabled", "TRUE"), ("wandb.project", "MY_PROJECT")],
)
def test_zt939_does_not_take_words_for_placeholders(lint: Lint, path: str, value: str) -> None:
    assert "ZT939" not in {finding.code for finding in lint(config(path, value))}


@pytest.mark.parametrize(
    ("section", "params"), [("optimizer", [1]), ("optimizer", "x"), ("scheduler", []), ("scheduler", 5)]
)
def test_zt934_parameters_that_are_no_mapping(lint: Lint, section: str, params: object) -> None:
    found = lint({"train_batch_size": 2, section: {"type": "Adam", "params": params}})

    assert f"{section}.params" in [finding.place.key for finding in found if finding.code == "ZT934"]
