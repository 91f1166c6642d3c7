"""ZT4: long sequences in pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

SIZES = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"
MIXTRAL = f"{{architecture: mixtral, config: {{{SIZES}, num_key_value_heads: 2, num_local_experts: 4}}}}"
BOTH = {"tiling": "{mlp: 4, logits: 8}"}


@pytest.mark.parametrize(
    ("sections", "key", "message"),
    [
        ({"model": MIXTRAL}, "tiling.mlp", "mlp cannot be computed in pieces in a `mixtral`, only in `gpt2`, `llama`"),
        ({"moe": "{experts: 4, top_k: 1}"}, "tiling.mlp", "mlp cannot be computed in pieces with `moe`"),
        ({"task": "{type: sequence_classification}"}, "tiling.logits", "for `sequence_classification`, only for"),
        (
            {"parallel": "{pp: 2}", "batch": "{global_batch_size: 8, micro_batch_size: 4}"},
            "tiling.logits",
            "logits cannot be computed in pieces with `pp: 2`",
        ),
    ],
)
def test_zt450_what_cannot_be_tiled(findings: Findings, sections: dict[str, str], key: str, message: str) -> None:
    found = [finding for finding in findings(**BOTH, **sections) if finding.code == "ZT450"]

    assert [(finding.name, finding.severity, finding.place.key) for finding in found] == [
        ("cannot-be-tiled", Severity.ERROR, key)
    ]
    assert message in found[0].message
    one_piece = findings(tiling="{mlp: 1, logits: 1}", **sections)
    assert "ZT450" not in {finding.code for finding in one_piece}


def test_what_can_be_tiled_has_no_finding(findings: Findings) -> None:
    assert findings(**BOTH) == []
    assert findings(model=MIXTRAL, tiling="{logits: 8}") == []
    assert findings(**BOTH, activation_checkpointing="{granularity: selective, parts: [attention]}") == []


def test_zt451_more_pieces_than_tokens(one: One, findings: Findings) -> None:
    finding = one(tiling="{mlp: 65}")

    assert (finding.code, finding.name, finding.severity) == ("ZT451", "more-tiles-than-tokens", Severity.ERROR)
    assert (finding.place.key, finding.message) == (
        "tiling.mlp",
        "65 pieces are more than the 32 tokens that a rank has of a sample",
    )
    assert findings(tiling="{mlp: 32, logits: 32}") == []
    divided = {"parallel": "{sp: 2}", "batch": "{global_batch_size: 8, micro_batch_size: 4}"}
    assert "the 16 tokens" in one(tiling="{logits: 17}", **divided).message


def test_zt452_mlps_that_are_computed_three_times(one: One) -> None:
    finding = one(tiling="{mlp: 4}", activation_checkpointing="{granularity: selective, parts: [attention, mlp]}")

    assert (finding.code, finding.name, finding.severity) == ("ZT452", "computed-again-twice", Severity.WARNING)
    assert finding.place.key == "activation_checkpointing.parts"
