"""DeepSpeed configs: which keys stand in a config."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.runner import look
from zerotrain.check.dsschema.schema import schema_of
from zerotrain.diagnostic import Diagnostic, Fix, Severity

Lint = Callable[..., list[Diagnostic]]
Refusal = Callable[[dict[str, Any]], str | None]

STRICT = sorted(path for path, section in schema_of().sections.items() if section.strict and "*" not in path)
REMOVED = sorted(schema_of().removed)


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


def config(path: str = "", value: object = None, **others: Any) -> dict[str, Any]:
    """A config DeepSpeed takes, with a value at a dotted path."""
    whole: dict[str, Any] = {"train_batch_size": 1, **others}
    *parents, name = path.split(".")
    section = whole
    for parent in parents:
        section = section.setdefault(parent, {})
    if name:
        section[name] = value
    return whole


def only(code: str, findings: list[Diagnostic]) -> Diagnostic:
    found = [finding for finding in findings if finding.code == code]
    assert len(found) == 1, [f"{finding.code}: {finding.message}" for finding in findings]
    return found[0]


def codes(findings: list[Diagnostic]) -> set[str]:
    return {finding.code for finding in findings}


@pytest.mark.parametrize(
    ("path", "message", "help"),
    [
        ("gradient_cliping", "DeepSpeed does not read `gradient_cliping`", "did you mean `gradient_clipping`?"),
        ("hello_world", "DeepSpeed does not read `hello_world`", "remove it"),
        ("Train-Batch-Size", "DeepSpeed does not read `Train-Batch-Size`", "`train_batch_size` stands here too"),
        (
            "wall-clock-breakdown",
            "DeepSpeed does not read `wall-clock-breakdown`",
            "did you mean `wall_clock_breakdown`?",
        ),
        ("offload_optimizer", "DeepSpeed does not read `offload_optimizer`", "`zero_optimization`"),
        ("optimizer.eps", "DeepSpeed does not read `eps` in `optimizer`", "`optimizer.params`"),
        ("lr", "DeepSpeed does not read `lr`", "`optimizer.params`"),
        ("aio.thread_count", "DeepSpeed does not read `thread_count` in `aio`", "remove it"),
        ("checkpoint.cpu_checkpointing", "`cpu_checkpointing` in `checkpoint`", "`activation_checkpointing`"),
        ("checkpoint.writer.typ", "`typ` in `checkpoint.writer`", "did you mean `type`?"),
    ],
)
def test_zt901_a_key_that_deepspeed_ignores(lint: Lint, refusal: Refusal, path: str, message: str, help: str) -> None:
    given = config(path, 1)

    finding = only("ZT901", lint(given))

    assert (finding.severity, finding.place.key) == (Severity.WARNING, path)
    assert message in finding.message
    assert help in (finding.help or "")
    assert refusal(given) is None


def test_zt901_points_at_the_key_and_renames_a_certain_misspelling(lint: Lint) -> None:
    finding = only("ZT901", lint('{"train_batch_size": 1,\n "gradient_cliping": 0.5}'))

    assert (finding.place.line, finding.place.column) == (2, 2)
    assert finding.fix == Fix("rename to `gradient_clipping`", "gradient_cliping", "gradient_clipping", renames=True)


def test_zt901_does_not_rename_to_a_key_that_is_there(lint: Lint) -> None:
    finding = only("ZT901", lint({"train_batch_size": 1, "gradient_clipping": 1.0, "gradient_cliping": 0.5}))

    assert finding.fix is None


def test_zt901_looks_into_sections_under_names_of_ones_own_and_into_lists(lint: Lint) -> None:
    metrics = config("data_efficiency.data_sampling.curriculum_learning.curriculum_metrics", {"seqlen": {"typo": 1}})
    specs = config("tensor_parallel.partition_config.layer_specs", [{"patterns": ["a"], "typo": 1}])

    keys = [only("ZT901", lint(given)).place.key for given in (metrics, specs)]

    assert keys == [
        "data_efficiency.data_sampling.curriculum_learning.curriculum_metrics.seqlen.typo",
        "tensor_parallel.partition_config.layer_specs[0].typo",
    ]


@pytest.mark.parametrize(
    "name", ["_comment", "//", "#note", "comment", "comments", "__doc__", "_read_the_docs", "comment_1"]
)
def test_zt901_lets_comments_be(lint: Lint, refusal: Refusal, name: str) -> None:
    assert not codes(lint(config(name, "why"))) & {"ZT901", "ZT904", "ZT906"}
    assert refusal(config(name, "why")) is None


def test_zt901_knows_every_key_of_the_schema(lint: Lint) -> None:
    for path, section in schema_of().sections.items():
        for name in section.keys:
            whole = f"{path}.{name}".removeprefix(".")
            if "*" not in path and whole != "bfloat16":
                assert not codes(lint(config(whole, "auto"))) & {"ZT901", "ZT904"}, whole


@pytest.mark.parametrize("section", STRICT)
def test_zt904_an_unknown_key_in_every_section_deepspeed_checks(lint: Lint, refusal: Refusal, section: str) -> None:
    given = config(f"{section}.no_such_key", 1)

    finding = only("ZT904", lint(given))

    assert (finding.severity, finding.place.key) == (Severity.ERROR, f"{section}.no_such_key")
    assert "no_such_key" in (refusal(given) or "")


@pytest.mark.parametrize(
    ("path", "help"),
    [
        ("fp16.inital_scale_power", "did you mean `initial_scale_power`?"),
        ("bf16.loss_scale", "it belongs in `fp16`: move it there, or remove it"),
        ("zero_optimization.gradient_clipping", "it belongs at the top level: move it there, or remove it"),
        ("zero_optimization.cpu_offload_parms", "did you mean"),
        ("zero_optimization._comment", "JSON has no comments"),
    ],
)
def test_zt904_says_where_the_key_belongs(lint: Lint, path: str, help: str) -> None:
    assert help in (only("ZT904", lint(config(path, 1))).help or "")


@pytest.mark.parametrize(
    ("path", "code"), [("zero_optimization.compute_grad_norm", "ZT904"), ("data_types.param_dtype", "ZT901")]
)
def test_zt901_and_zt904_name_the_version_that_reads_the_key(lint: Lint, path: str, code: str) -> None:
    finding = only(code, lint(config(path, None), deepspeed="0.18.9"))

    assert finding.help == "DeepSpeed 0.19.8 reads it; 0.18.9 does not"
    assert not codes(lint(config(path, None))) & {"ZT901", "ZT904"}


def test_zt904_lets_an_unknown_auto_pass_that_deepspeed_drops(lint: Lint, refusal: Refusal) -> None:
    given = config("fp16.no_such_key", "auto")

    found = lint(given)

    assert "ZT904" not in codes(found)
    assert only("ZT901", found).place.key == "fp16.no_such_key"
    assert refusal(given) is None


def test_zt904_lets_a_bfloat16_section_be_that_nobody_reads(lint: Lint, refusal: Refusal) -> None:
    given = config("bfloat16.no_such_key", 1, bf16={"enabled": True})

    assert "ZT904" not in codes(lint(given))
    assert refusal(given) is None


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("per_device_train_batch_size", "DeepSpeed's key for it is `train_micro_batch_size_per_gpu`"),
        ("max_grad_norm", "DeepSpeed's key for it is `gradient_clipping`"),
        ("output_dir", "set it there, and remove it here"),
        ("zero_stage", "DeepSpeed's key for it is `zero_optimization.stage`"),
    ],
)
def test_zt906_a_key_of_a_framework(lint: Lint, name: str, help: str) -> None:
    found = lint(config(name, 1))

    finding = only("ZT906", found)
    assert (finding.severity, finding.place.key, finding.help) == (Severity.WARNING, name, help)
    assert "ZT901" not in codes(found)


def test_zt906_lets_a_name_be_that_deepspeed_has_too(lint: Lint) -> None:
    assert "ZT906" not in codes(lint(config("dataloader_drop_last", True)))


@pytest.mark.parametrize("wrapper", ["monitor_config", "deepspeed", "ds_config"])
def test_zt907_sections_one_level_too_deep(lint: Lint, refusal: Refusal, wrapper: str) -> None:
    given = config(f"{wrapper}.tensorboard.enabled", False)

    found = lint(given)

    assert only("ZT907", found).message == f"DeepSpeed ignores `{wrapper}`, and with it `tensorboard`"
    assert "ZT901" not in codes(found)
    assert refusal(given) is None


def test_zt907_lets_sections_at_the_top_level_be(lint: Lint) -> None:
    assert "ZT907" not in codes(lint(config("tensorboard.enabled", False)))


@pytest.mark.parametrize(
    ("names", "looks_like"),
    [
        (("output_dir", "num_train_epochs", "learning_rate", "save_steps"), "HF Trainer arguments"),
        (("compute_environment", "distributed_type", "mixed_precision", "num_processes"), "an Accelerate config"),
        (("architectures", "model_type", "hidden_size", "vocab_size"), "a Hugging Face model config"),
        (("red", "green", "blue"), "DeepSpeed reads none of its keys"),
    ],
)
def test_zt908_the_file_of_another_tool_is_named(lint: Lint, names: tuple[str, ...], looks_like: str) -> None:
    found = lint(dict.fromkeys(names, 1))

    finding = only("ZT908", found)
    assert looks_like in finding.message
    assert finding.severity is Severity.WARNING


def test_zt908_a_gpt_neox_config_that_shares_keys_with_deepspeed(lint: Lint) -> None:
    names = ("pipe-parallel-size", "model-parallel-size", "num-layers", "hidden-size", "seq-length", "pos-emb", "norm")
    neox = dict.fromkeys(names, 1)

    finding = only("ZT908", lint({**neox, "train_batch_size": 1, "gradient_clipping": 1.0}))

    assert "GPT-NeoX" in finding.message
    assert "2 of its 9 keys" in finding.message


def test_zt908_lets_a_deepspeed_config_with_some_foreign_keys_be(lint: Lint) -> None:
    found = lint(
        config(learning_rate=1, output_dir=1, hello=1, zero_optimization={"stage": 1}, wall_clock_breakdown=True)
    )

    assert "ZT908" not in codes(found)
    assert {"ZT901", "ZT906"} <= codes(found)


@pytest.mark.parametrize("path", REMOVED)
@pytest.mark.parametrize("value", [{"enabled": False}, False, "auto"])
def test_zt902_a_key_that_deepspeed_has_removed(lint: Lint, refusal: Refusal, path: str, value: object) -> None:
    found = lint(config(path, value))

    finding = only("ZT902", found)
    assert (finding.severity, finding.place.key) == (Severity.ERROR, path)
    assert finding.message == f"DeepSpeed 0.19 has removed `{path.rpartition('.')[2]}`"
    assert not codes(found) & {"ZT901", "ZT904"}
    assert "removed" in (refusal(config(path, value)) or "")


def test_zt902_lets_a_key_be_in_the_version_that_had_it(lint: Lint) -> None:
    assert not codes(lint(config("sparse_gradients", False), deepspeed="0.18.9")) & {"ZT901", "ZT902"}


def test_zt902_lets_its_successor_be(lint: Lint) -> None:
    given = config("data_efficiency.data_sampling.curriculum_learning.enabled", False)

    assert "ZT902" not in codes(lint(given))


def test_zt910_a_deprecated_key_is_renamed_when_it_takes_the_same_value(lint: Lint, refusal: Refusal) -> None:
    path, new = "zero_optimization.stage3_gather_fp16_weights_on_model_save", "gather_16bit_weights_on_model_save"

    finding = only("ZT910", lint(config(path, True)))

    assert (finding.severity, finding.help) == (Severity.WARNING, f"use `{new}` instead")
    assert finding.fix == Fix(f"rename to `{new}`", path, new, renames=True)
    assert refusal(config(path, True)) is None


def test_zt910_an_offload_switch_becomes_a_section(lint: Lint) -> None:
    finding = only("ZT910", lint(config("zero_optimization.cpu_offload", True, zero_optimization={"stage": 2})))

    assert (finding.message, finding.fix) == ("`cpu_offload` is deprecated", None)
    assert finding.help == "use `offload_optimizer` instead"


def test_zt910_the_old_spelling_of_bf16(lint: Lint) -> None:
    finding = only("ZT910", lint(config("bfloat16.enabled", True)))

    assert finding.fix == Fix("rename to `bf16`", "bfloat16", "bf16", renames=True)
    assert "ZT910" not in codes(lint(config("bf16.enabled", True)))


@pytest.mark.parametrize("old_value", [True, False])
def test_zt911_a_deprecated_key_beside_the_new_one(lint: Lint, refusal: Refusal, old_value: bool) -> None:
    given = config(zero_optimization={"stage": 2, "cpu_offload": old_value, "offload_optimizer": {"device": "cpu"}})

    found = lint(given)

    assert only("ZT911", found).severity is Severity.ERROR
    assert "ZT910" not in codes(found)
    assert "together" in (refusal(given) or "")


def test_zt911_counts_an_alias_of_the_new_one(lint: Lint, refusal: Refusal) -> None:
    names = ("stage3_gather_fp16_weights_on_model_save", "stage3_gather_16bit_weights_on_model_save")
    given = config(zero_optimization={"stage": 3, **dict.fromkeys(names, True)})

    assert "ZT911" in codes(lint(given))
    assert "together" in (refusal(given) or "")


@pytest.mark.parametrize("pair", [{"cpu_offload": "auto"}, {"cpu_offload_use_pin_memory": True}])
def test_zt911_lets_pairs_be_that_deepspeed_takes(lint: Lint, refusal: Refusal, pair: dict[str, Any]) -> None:
    given = config(zero_optimization={"stage": 2, "offload_optimizer": {"device": "cpu"}, **pair})

    assert "ZT911" not in codes(lint(given))
    assert refusal(given) is None


def test_zt912_a_setting_under_both_names(lint: Lint, refusal: Refusal) -> None:
    given = config(zero_optimization={"stage": 3, "max_live_parameters": 1, "stage3_max_live_parameters": 1})

    assert only("ZT912", lint(given)).severity is Severity.ERROR
    assert "not permitted" in (refusal(given) or "")


def test_zt912_lets_one_of_them_be_auto(lint: Lint, refusal: Refusal) -> None:
    given = config(zero_optimization={"stage": 3, "max_live_parameters": 1, "stage3_max_live_parameters": "auto"})

    assert "ZT912" not in codes(lint(given))
    assert refusal(given) is None


def test_zt913_bfloat16_beside_bf16(lint: Lint) -> None:
    found = lint(config(bf16={"enabled": False}, bfloat16={"enabled": True}))

    assert only("ZT913", found).place.key == "bfloat16"
    assert "ZT913" not in codes(lint(config(bf16=None, bfloat16={"enabled": True})))


@pytest.mark.parametrize("name", ["comms_logger", "datastates_ckpt"])
def test_zt914_a_section_that_is_on_because_it_is_there(lint: Lint, name: str) -> None:
    assert only("ZT914", lint(config(f"{name}.enabled", False))).place.key == f"{name}.enabled"
    assert "ZT914" not in codes(lint(config(f"{name}.enabled", True)))


def test_zt914_deepspeed_looks_only_whether_it_is_there() -> None:
    from deepspeed.comm.config import DeepSpeedCommsConfig
    from deepspeed.datastates.config import DeepSpeedDataStatesConfig

    assert DeepSpeedCommsConfig({"comms_logger": {"enabled": False}}).comms_logger_enabled
    assert DeepSpeedDataStatesConfig({"datastates_ckpt": {"enabled": False}}).enabled


@pytest.mark.parametrize("section", ["fp16", "bf16", "flops_profiler", "tensorboard", "expert_parallel"])
def test_zt915_a_section_without_enabled(lint: Lint, section: str) -> None:
    settings = {name: key.default for name, key in schema_of().sections[section].keys.items() if name != "enabled"}

    assert only("ZT915", lint(config(section, settings))).place.key == section
    assert "ZT915" not in codes(lint(config(section, {**settings, "enabled": False})))


@pytest.mark.parametrize("given", [{"fp16": {}}, {"comms_logger": {"verbose": True}}, {"fp16": {"auto_cast": True}}])
def test_zt915_lets_sections_be_that_do_something(lint: Lint, given: dict[str, Any]) -> None:
    assert "ZT915" not in codes(lint(config(**given)))


@pytest.mark.parametrize("junk", [None, True, 1, "x", [1], {"a": {"b": [1, {"c": None}]}}, 10**400, float("inf")])
def test_no_rule_stumbles_over_junk(lint: Lint, junk: object) -> None:
    for path, section in schema_of().sections.items():
        for name in section.keys:
            if "*" not in path:
                lint(config(f"{path}.{name}".removeprefix("."), junk))


def test_zt909_a_run_stops_on_a_raw_key_that_nobody_reads() -> None:
    config = {"train_batch_size": 1, "memory_brakdown": True}

    assert "ZT909" in codes(look(ConfigCase(config, is_compiled=True)))
    assert "ZT901" not in codes(look(ConfigCase(config, is_compiled=True)))
    assert "ZT909" not in codes(look(ConfigCase(config)))
