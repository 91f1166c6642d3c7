"""ZT65, ZT66: chats and preferences."""

from __future__ import annotations

from collections.abc import Callable

from zerotrain.diagnostic import Diagnostic

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

SHAPE = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"


def data(packing: str) -> str:
    return f"{{train: [{{type: jsonl, path: x.jsonl}}], tokenizer: {{type: bytes}}, seq_len: 32, packing: {packing}}}"


def test_zt658_chats_in_one_stream(one: One, findings: Findings) -> None:
    finding = one(task="{type: sft}", data=data("concat"))

    assert (finding.code, finding.place.key) == ("ZT658", "data.packing")
    assert findings(task="{type: sft}", data=data("none")) == []


def test_zt663_smoothing_of_a_loss_that_has_none(one: One, findings: Findings) -> None:
    finding = one(task="{type: dpo, loss: hinge, label_smoothing: 0.1}", data=data("none"))

    assert (finding.code, finding.place.key) == ("ZT663", "task.label_smoothing")
    assert findings(task="{type: dpo, label_smoothing: 0.1}", data=data("none")) == []


def test_zt664_a_reward_of_two_numbers(one: One, findings: Findings) -> None:
    model = f"{{architecture: llama, config: {{{SHAPE}, num_labels: NUMBER}}}}"
    finding = one(task="{type: reward}", data=data("none"), model=model.replace("NUMBER", "2"))

    assert (finding.code, finding.place.key) == ("ZT664", "model.config.num_labels")
    assert findings(task="{type: reward}", data=data("none"), model=model.replace("NUMBER", "1")) == []
