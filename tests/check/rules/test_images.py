"""ZT67 and ZT68: images."""

from __future__ import annotations

from collections.abc import Callable

from zerotrain.diagnostic import Diagnostic

Findings = Callable[..., list[Diagnostic]]

SIZES = "patch_size: 2, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2"


def images(
    findings: Findings, data: str = ", image: {size: 8, channels: 1}", config: str = ""
) -> list[tuple[str, str]]:
    found = findings(
        model=f"{{architecture: vit, config: {{{SIZES}{config}}}}}",
        task="{type: image_classification}",
        data=f"{{train: [{{type: sklearn_digits}}]{data}}}",
    )
    return [(finding.code, finding.place.key) for finding in found]


def test_a_usual_spec_has_no_findings(findings: Findings) -> None:
    assert images(findings) == []


def test_zt677_images_without_a_size(findings: Findings) -> None:
    assert images(findings, "") == [("ZT677", "data")]


def test_zt678_a_model_for_other_images(findings: Findings) -> None:
    assert images(findings, config=", image_size: 16") == [("ZT678", "data.image")]
    assert images(findings, config=", num_channels: 3") == [("ZT678", "data.image")]
    assert images(findings, config=", image_size: 8, num_channels: 1") == []


def test_zt679_a_mean_for_other_channels(findings: Findings) -> None:
    assert images(findings, ", image: {size: 8, channels: 1, mean: [0.4, 0.5, 0.4]}") == [("ZT679", "data.image.mean")]
    assert images(findings, ", image: {size: 8, mean: [0.4, 0.5, 0.4], std: [0.2]}") == []


def test_zt680_text_for_a_task_on_images_and_the_other_way_round(findings: Findings) -> None:
    given = ", image: {size: 8, channels: 1}, tokenizer: {type: bytes}"
    assert images(findings, given) == [("ZT680", "data.tokenizer")]
    text = "{train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32, image: {size: 8}}"
    assert [finding.code for finding in findings(data=text)] == ["ZT680"]
