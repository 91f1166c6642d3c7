"""ZT63 and ZT64: sources of data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]


def data(train: str, validation: str = "{type: python_stdlib}") -> str:
    return f"{{train: [{train}], validation: [{validation}], tokenizer: {{type: bytes}}, seq_len: 32}}"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (data("{type: python_stdlib, weight: 2}"), "data.train[0].weight"),
        (data("{type: python_stdlib}", "{type: python_stdlib, weight: 2}"), "data.validation[0].weight"),
    ],
)
def test_zt635_a_weight_without_a_mixture(one: One, caret: Caret, given: str, key: str) -> None:
    finding = one(data=given)

    assert (finding.code, finding.name, finding.severity) == ("ZT635", "weight-without-mixture", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == (key, "2")


def test_zt635_weights_of_several_sources(findings: Findings) -> None:
    assert findings(data=data("{type: python_stdlib, weight: 2}, {type: text, path: a.txt}")) == []


def test_zt636_a_budget_of_records(one: One, findings: Findings, caret: Caret) -> None:
    bounded = data("{type: jsonl, path: a.jsonl, max_tokens: 10M}")
    finding = one(data=bounded, task="{type: sequence_classification}", model=_BERT)

    assert (finding.code, finding.name, finding.severity) == ("ZT636", "budget-of-records", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("data.train[0].max_tokens", "10M")
    assert findings(data=bounded) == []


_SHAPE = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"
_BERT = f"{{architecture: bert, config: {{{_SHAPE}}}}}"


@pytest.mark.parametrize("budget", ["0", "-3", "1.5", "ten", "true"])
def test_a_budget_is_a_whole_number(one: One, budget: str) -> None:
    finding = one(data=data(f"{{type: python_stdlib, max_tokens: {budget}}}"))

    assert (finding.code, finding.place.key) == ("ZT007", "data.train[0].max_tokens")
