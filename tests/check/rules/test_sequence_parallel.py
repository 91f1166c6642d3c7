"""ZT4: sequences divided over ranks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

TWO = {"parallel": "{sp: 2}", "batch": "{global_batch_size: 8, micro_batch_size: 4}"}
CONFIG = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2"


def llama(heads: int, **more: str) -> str:
    text = ", ".join(f"{key}: {value}" for key, value in more.items())
    config = f"{CONFIG}, num_attention_heads: {heads}"
    return f"{{architecture: llama, config: {{{config}}}{', ' if more else ''}{text}}}"


def test_zt408_what_cannot_be_divided(one: One, findings: Findings) -> None:
    data = "{train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 63}"
    finding = one(**TWO, data=data)

    assert (finding.code, finding.name, finding.severity) == ("ZT408", "undivided-sequence", Severity.ERROR)
    assert (finding.place.key, finding.message) == ("parallel.sp", "63 tokens of a sample cannot be divided by 2")
    assert findings(**TWO) == []
    assert "1 attention heads" in one(**TWO, model=llama(1)).message


@pytest.mark.parametrize(
    ("sections", "key", "words"),
    [
        ({"model": llama(4, attention="eager")}, "model.attention", "`eager` attention needs a mask from outside"),
        ({"task": "{type: sequence_classification}"}, "task.type", "is not available with divided sequences"),
        ({"parallel": "{sp: 2, tp: 2}", "hardware": "{gpu: cpu, gpus_per_node: 4}"}, "parallel.tp", "with `sp`"),
        (
            {"model": "{architecture: gpt2, config: {n_embd: 64, n_layer: 2, n_head: 4}}"},
            "model.architecture",
            "a `gpt2` cannot divide its sequences, only `llama`",
        ),
    ],
)
def test_zt409_what_needs_whole_sequences(findings: Findings, sections: dict[str, str], key: str, words: str) -> None:
    found = [finding for finding in findings(**{**TWO, **sections}) if finding.code == "ZT409"]

    assert [(finding.name, finding.severity, finding.place.key) for finding in found] == [
        ("whole-sequences-needed", Severity.ERROR, key)
    ]
    assert words in found[0].message
