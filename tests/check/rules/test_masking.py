"""ZT67: masked language models."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

BERT = "{architecture: bert, attention: %s, config: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2}}"


def masked(findings: Findings, task: str = "", *, seq_len: int = 32, data: str = "", attention: str = "sdpa") -> list:
    return findings(
        model=BERT % attention,
        task=f"{{type: masked_lm{task}}}",
        data=f"{{train: [{{type: python_stdlib}}], tokenizer: {{type: bytes}}, seq_len: {seq_len}{data}}}",
    )


def test_a_usual_spec_has_no_findings(findings: Findings) -> None:
    assert masked(findings) == []


def test_zt670_samples_without_room_for_text(findings: Findings) -> None:
    (finding,) = masked(findings, seq_len=2)

    assert (finding.code, finding.place.key) == ("ZT670", "data.seq_len")
    assert masked(findings, seq_len=3) == []


def test_zt671_shares_of_more_than_everything(findings: Findings) -> None:
    (finding,) = masked(findings, ", mask_share: 0.9, random_share: 0.2")

    assert (finding.code, finding.place.key) == ("ZT671", "task.random_share")
    assert finding.message == "`mask_share` 0.9 and `random_share` 0.2 come to more than 1"
    assert masked(findings, ", mask_share: 0.75, random_share: 0.25") == []


@pytest.mark.parametrize(("packing", "codes"), [("isolated", ["ZT675"]), ("none", [])])
def test_zt675_packed_documents_in_flash_attention(findings: Findings, packing: str, codes: list[str]) -> None:
    found = masked(findings, data=f", packing: {packing}", attention="flash_attention_2")

    assert [finding.code for finding in found if finding.code.startswith("ZT67")] == codes
