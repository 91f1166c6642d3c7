"""Whatever is wrong in a section becomes one finding, with what was found, what is expected, and carets under it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Fix

Text = Callable[..., str]
Only = Callable[..., Diagnostic]
Caret = Callable[[Diagnostic], str]


@pytest.mark.parametrize(
    ("section", "value", "pointed", "message"),
    [
        ("seed", "-1", "-1", "`seed` is `-1`, expected a number of at least 0"),
        ("seed", "1.0", "1.0", "`seed` is `1.0`, expected a whole number"),
        ("seed", "true", "true", "`seed` is `true`, expected a whole number"),
        ("seed", "x", "x", "`seed` is `x`, expected a whole number"),
        ("seed", "[1]", "[1]", "`seed` is a list, expected a whole number"),
        ("seed", "{a: 1}", "{a: 1}", "`seed` is a mapping, expected a whole number"),
        ("name", "5", "5", "`name` is `5`, expected text"),
        ("name", "a/b", "a/b", "`a/b` cannot name a directory; use letters, digits, `.`, `_` and `-`"),
        ("name", ".hidden", ".hidden", "`.hidden` cannot name a directory; use letters, digits, `.`, `_` and `-`"),
        ("zero", "[stage, 2]", "[stage, 2]", "`zero` is a list, expected a mapping"),
        ("zero", "2", "2", "`zero` is `2`, expected a mapping"),
        ("zero", "{stage: 4}", "4", "`zero.stage` is `4`, expected 0, 1, 2 or 3"),
        ("zero", "{offload_optimizer: cpu}", "cpu", "`zero.offload_optimizer` is `cpu`, expected a mapping"),
        ("optimizer", "adamw", "adamw", "`optimizer` is `adamw`, expected a mapping"),
        ("optimizer", "{type: adamw, lr: 0}", "0", "`optimizer.lr` is `0`, expected a number greater than 0"),
        ("optimizer", "{type: adamw, lr: .nan}", ".nan", "`optimizer.lr` is `nan`, expected a finite number"),
        ("optimizer", "{type: adamw, lr: yes}", "yes", "`optimizer.lr` is `yes`, expected a number"),
        (
            "optimizer",
            "{type: adamw, lr: 1, betas: [0.9, 1.0]}",
            "1.0",
            "`optimizer.betas[1]` is `1.0`, expected a number less than 1",
        ),
        (
            "optimizer",
            "{type: adamw, lr: 1, betas: [0.9]}",
            "[0.9]",
            "`optimizer.betas` is a list, expected a list with more items",
        ),
        (
            "optimizer",
            "{type: adamw, lr: 1, betas: [0, 0, 0]}",
            "[0, 0, 0]",
            "`optimizer.betas` is a list, expected at most 2 item(s)",
        ),
        (
            "optimizer",
            "{type: adamw, lr: 1, betas: 0.9}",
            "0.9",
            "`optimizer.betas` is `0.9`, expected a list",
        ),
        (
            "schedule",
            "{type: cosine, min_lr_ratio: 2}",
            "2",
            "`schedule.min_lr_ratio` is `2`, expected a number of at most 1",
        ),
        ("schedule", "{type: cosine, warmup: 0 steps}", "0 steps", "`0 steps` is not positive"),
        (
            "schedule",
            "{type: cosine, warmup: 20}",
            "20",
            "`20` has no unit; write `20 steps`, `20 epochs` or `20 tokens`",
        ),
        ("horizon", "200", "200", "`200` has no unit; write `200 steps`, `200 epochs` or `200 tokens`"),
        (
            "precision",
            "bf61",
            "bf61",
            "`precision.dtype` is `bf61`, expected `fp32`, `bf16`, `fp16` or `autocast-bf16`",
        ),
        (
            "precision",
            "{dtype: fp16, loss_scale: dynamic}",
            "dynamic",
            "`precision.loss_scale` is `dynamic`, expected a number or a mapping",
        ),
        (
            "precision",
            "{dtype: fp16, loss_scale: -1}",
            "-1",
            "`precision.loss_scale` is `-1`, expected a number greater than 0 or a mapping",
        ),
        (
            "precision",
            "{dtype: fp16, loss_scale: {window: x}}",
            "x",
            "`precision.loss_scale.window` is `x`, expected a whole number",
        ),
        ("moe", "{experts: 1}", "1", "`moe.experts` is `1`, expected a number of at least 2"),
        (
            "activation_checkpointing",
            "partial",
            "partial",
            "`activation_checkpointing.granularity` is `partial`, expected `none`, `full` or `selective`",
        ),
        ("monitor", "{tensorboard: 1}", "1", "`monitor.tensorboard` is `1`, expected `true` or `false`"),
        ("monitor", "{every: 0}", "0", "`monitor.every` is `0`, expected a number greater than 0"),
        ("data", "[1]", "[1]", "`data` is a list, expected a mapping"),
        ("export", "{sample: {prompts: x}}", "x", "`export.sample.prompts` is `x`, expected a list"),
        ("export", "{sample: {prompts: [x, 5]}}", "5", "`export.sample.prompts[1]` is `5`, expected text"),
        ("deepspeed", "5", "5", "`deepspeed` is `5`, expected a mapping"),
        ("parallel", "{tp: 0}", "0", "`parallel.tp` is `0`, expected a number greater than 0"),
        ("hardware", "{gpu: 5}", "5", "`hardware.gpu` is `5`, expected text"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_expected(
    tiny: Text, only: Only, caret: Caret, section: str, value: str, pointed: str, message: str
) -> None:
    finding = only(tiny(**{section: value}))

    assert (finding.code, finding.message) == ("ZT007", message)
    assert caret(finding) == pointed
    assert finding.place.key is not None and finding.place.key.startswith(section)


@pytest.mark.parametrize("section", ["zero", "batch", "optimizer", "data", "precision", "activation_checkpointing"])
def test_an_empty_section_is_said_to_be_empty(tiny: Text, only: Only, section: str) -> None:
    assert only(tiny(**{section: ""})).message == f"`{section}` is empty, expected a mapping"


@pytest.mark.parametrize(
    ("section", "value", "help"),
    [
        ("optimizer", "{type: adamv, lr: 1}", "did you mean `adam`?"),
        (
            "optimizer",
            "{type: zzz, lr: 1}",
            "use `adam`, `adamw`, `adagrad`, `sgd`, `lion`, `lamb`, `muon`, `nadam`, `radam`, `rmsprop`, "
            "`adamax` or `adafactor`",
        ),
        ("precision", "bf61", "did you mean `bf16`?"),
        ("monitor", "{tensorboard: yes}", "write `true`"),
        ("monitor", "{tensorboard: off}", "write `false`"),
        ("zero", "{overlap_comm: on}", "write `true`"),
        (
            "batch",
            "{global_batch_size: 8, micro_batch_size: 4, gradient_accumulation_steps: 'auto '}",
            "did you mean `auto`?",
        ),
    ],
)
def test_a_near_miss_is_named(tiny: Text, only: Only, section: str, value: str, help: str) -> None:
    finding = only(tiny(**{section: value}))

    assert (finding.code, finding.help) == ("ZT007", help)


@pytest.mark.parametrize(
    ("section", "value", "key", "near"),
    [
        ("batchh", "{}", "batchh", "batch"),
        ("zero", "{stag: 2}", "zero.stag", "stage"),
        ("optimizer", "{type: adamw, lr: 1, beta: [0, 0]}", "optimizer.beta", "betas"),
        ("precision", "{dtype: fp16, loss_scale: {windw: 5}}", "precision.loss_scale.windw", "window"),
        ("zero", "{offload_param: {device: cpu, pin_mem: true}}", "zero.offload_param.pin_mem", "pin_memory"),
        (
            "data",
            "{train: [{type: text, pth: x, path: y}], tokenizer: {type: bytes}, seq_len: 8}",
            "data.train[0].pth",
            "path",
        ),
    ],
)
def test_a_misspelt_key_can_be_fixed(
    tiny: Text, only: Only, caret: Caret, section: str, value: str, key: str, near: str
) -> None:
    finding = only(tiny(**{section: value}))

    assert (finding.code, finding.place.key, caret(finding)) == ("ZT005", key, key.rpartition(".")[2])
    assert finding.help == f"did you mean `{near}`?"
    assert finding.fix == Fix(f"rename to `{near}`", key, near, renames=True)


@pytest.mark.parametrize(
    ("section", "value", "pointed", "help"),
    [
        ("optimizer", "{type: adamw, lr: 1, warmup: 5}", "warmup", "did you mean `schedule.warmup` or `ema.warmup`?"),
        ("lr", "1", "lr", "did you mean `optimizer.lr` or `optimizer.groups.lr`?"),
        (
            "optimizer",
            "{type: sgd, lr: 1, zzzz: 5}",
            "zzzz",
            "known keys here: `clip_norm`, `decay_norms_and_biases`, ",
        ),
        ("gradient_clipping", "1.0", "gradient_clipping", "known keys here: `activation_checkpointing`, "),
    ],
)
def test_an_unknown_key_that_is_like_none_has_no_fix(
    tiny: Text, only: Only, caret: Caret, section: str, value: str, pointed: str, help: str
) -> None:
    finding = only(tiny(**{section: value}))

    assert (finding.code, finding.fix, caret(finding)) == ("ZT005", None, pointed)
    assert (finding.help or "").startswith(help)


@pytest.mark.parametrize(
    ("sections", "key", "pointed", "message"),
    [
        ({"optimizer": "{type: adamw}"}, "optimizer.lr", "optimizer", "`optimizer` has no `lr`"),
        ({"optimizer": "{lr: 1}"}, "optimizer.type", "optimizer", "`optimizer` has no `type`"),
        ({"batch": "{global_batch_size: 8}"}, "batch.micro_batch_size", "batch", "`batch` has no `micro_batch_size`"),
        (
            {"data": "{train: [{type: text}], tokenizer: {type: bytes}, seq_len: 8}"},
            "data.train[0].path",
            "{type: text}",
            "`data.train[0]` has no `path`",
        ),
        (
            {"zero": "{offload_optimizer: {pin_memory: true}}"},
            "zero.offload_optimizer.device",
            "offload_optimizer",
            "`zero.offload_optimizer` has no `device`",
        ),
    ],
)
def test_a_missing_key_stands_at_its_section(
    tiny: Text, only: Only, caret: Caret, sections: dict[str, str], key: str, pointed: str, message: str
) -> None:
    finding = only(tiny(**sections))

    assert (finding.code, finding.message, finding.place.key) == ("ZT006", message, key)
    assert caret(finding) == pointed
    assert (finding.help or "").startswith(f"add `{key.rpartition('.')[2]}:`")


def test_a_missing_type_lists_the_types(tiny: Text, only: Only) -> None:
    assert only(tiny(schedule="{warmup: 5 steps}")).help == (
        "add `type:` with `constant`, `cosine`, `linear`, `lr_range_test`, `one_cycle`, `polynomial` or `wsd`"
    )


@pytest.mark.parametrize("name", ["name", "model", "data", "batch", "horizon", "optimizer", "schedule"])
def test_a_missing_section_is_found_in_the_file(tiny: Text, only: Only, name: str) -> None:
    finding = only(tiny(**{name: None}))

    assert (finding.code, finding.message) == ("ZT006", f"the spec has no `{name}`")
    assert (finding.place.line, finding.place.key) == (1, name)


@pytest.mark.parametrize(
    ("section", "value", "key", "number"),
    [
        ("optimizer", '{type: adamw, lr: "1e-4"}', "optimizer.lr", 1e-4),
        ("optimizer", "{type: adamw, lr: 1, betas: [0.9, '0.95']}", "optimizer.betas[1]", 0.95),
        ("seed", "'7'", "seed", 7),
        (
            "batch",
            "{global_batch_size: 8, micro_batch_size: 4, gradient_accumulation_steps: '1'}",
            "batch.gradient_accumulation_steps",
            1,
        ),
        ("precision", '{dtype: fp16, loss_scale: "1024"}', "precision.loss_scale", 1024),
    ],
)
def test_a_quoted_number_can_be_fixed(
    tiny: Text, only: Only, caret: Caret, section: str, value: str, key: str, number: float
) -> None:
    finding = only(tiny(**{section: value}))

    assert (finding.code, finding.fix) == ("ZT008", Fix("remove the quotes", key, number))
    assert caret(finding)[0] in "'\""


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("seed", '"4.5"'),
        ("seed", '"-5"'),
        ("optimizer", '{type: adamw, lr: ".nan"}'),
        ("optimizer", '{type: adamw, lr: "1e999"}'),
        ("optimizer", '{type: adamw, lr: "-1"}'),
    ],
)
def test_a_quoted_number_that_is_not_valid_either_is_not_offered(
    tiny: Text, only: Only, section: str, value: str
) -> None:
    assert only(tiny(**{section: value})).fix is None


@pytest.mark.parametrize("value", ["null", "true", "[200, steps]"])
def test_a_duration_that_is_no_text_is_shown_as_it_is_written(tiny: Text, only: Only, value: str) -> None:
    message = only(tiny(horizon=value)).message

    assert "None" not in message
    assert "True" not in message
    assert "'" not in message


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("optimizer", "{type: adamw, adamw: {lr: 5}}"),
        ("optimizer", "{type: adamw, lr: -1, adamw: {lr: 5}}"),
        ("data", "{train: [{type: python_stdlib}], tokenizer: {type: bpe, bpe: 5}, seq_len: 8}"),
    ],
)
def test_a_key_that_is_named_like_a_type_is_only_an_unknown_key(
    tiny: Text, read: Callable, section: str, value: str
) -> None:
    found = {(f.code, f.place.key) for f in read(tiny(**{section: value})).findings}

    assert found <= {
        ("ZT005", "optimizer.adamw"),
        ("ZT006", "optimizer.lr"),
        ("ZT007", "optimizer.lr"),
        ("ZT005", "data.tokenizer.bpe"),
    }


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("optimizer", "{type: adamw, lr: .inf}"),
        ("optimizer", "{type: adamw, lr: 1e999}"),
        ("optimizer", "{type: adamw, lr: 1, weight_decay: .inf}"),
        ("optimizer", "{type: adamw, lr: 1, clip_norm: .inf}"),
        ("precision", "{dtype: fp16, loss_scale: .inf}"),
    ],
)
def test_an_infinite_number_is_refused(tiny: Text, only: Only, section: str, value: str) -> None:
    assert only(tiny(**{section: value})).code == "ZT007"


@pytest.mark.parametrize("value", ["|\n  tiny", '"tiny\\n"'])
def test_a_name_with_a_line_end_is_refused(tiny: Text, only: Only, value: str) -> None:
    assert only(tiny(name=value)).place.key == "name"


def test_findings_come_in_the_order_of_the_file(tiny: Text, read: Callable) -> None:
    reading = read(tiny(schedule="{type: cos}", seed="x", batch="{a: 1, global_batch_size: 0, micro_batch_size: y}"))
    places = [(f.place.line, f.place.column) for f in reading.findings]

    assert len(places) == 5
    assert places == sorted(places)


def test_a_very_long_value_is_not_printed_whole(tiny: Text, only: Only) -> None:
    assert len(only(tiny(optimizer=f"{{type: adamw, lr: {'9' * 400}}}")).message) < 200
