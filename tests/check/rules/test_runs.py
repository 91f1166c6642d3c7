"""ZT7: exports."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

SAMPLE = '{sample: {prompts: ["It was"]}}'
DATA = "{train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32}"


@pytest.mark.parametrize("task", ["masked_lm", "sequence_classification"])
def test_zt749_text_from_a_model_that_does_not_continue_text(one: Callable[..., Diagnostic], task: str) -> None:
    model = "{architecture: bert, config: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2}}"

    finding = one(task=f"{{type: {task}}}", export=SAMPLE, model=model, data=DATA)

    assert (finding.code, finding.severity, finding.place.key) == ("ZT749", Severity.ERROR, "export.sample")
    assert finding.message.startswith(f"the export of `{task}` does not continue text")


@pytest.mark.parametrize("task", ["pretrain", "sft", "dpo"])
def test_causal_models_continue_text(findings: Callable[..., list[Diagnostic]], task: str) -> None:
    assert "ZT749" not in {f.code for f in findings(task=f"{{type: {task}}}", export=SAMPLE, data=DATA)}
