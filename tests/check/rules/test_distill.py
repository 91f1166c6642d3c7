"""ZT69: a teacher and its student."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}


@pytest.fixture
def teacher(tmp_path: Path) -> Callable[..., None]:
    """Writes the config of a teacher next to the spec."""

    def write(**config: Any) -> None:
        (tmp_path / "teacher").mkdir()
        written = {"model_type": "llama", "vocab_size": 257, **SIZES, **config}
        (tmp_path / "teacher" / "config.json").write_text(json.dumps(written))

    return write


def task(more: str = "", name: str = "./teacher") -> str:
    return f"{{type: distill, teacher: {{pretrained: {name}}}{more}}}"


def test_a_teacher_that_fits_is_no_finding(teacher: Callable[..., None], findings: Findings) -> None:
    teacher(vocab_size=264)

    assert findings(task=task(", hidden_weight: 1.0, hidden_layers: [[0, 0], [2, 4], [-3, -5]]")) == []


@pytest.mark.parametrize("name", ["org/name", "name"])
def test_a_teacher_on_the_hub_is_not_looked_at(findings: Findings, name: str) -> None:
    assert findings(task=task(", hidden_weight: 1.0", name)) == []


def test_zt023_a_folder_that_is_not_there(one: One) -> None:
    finding = one(task=task())

    assert (finding.code, finding.place.key, finding.place.line is not None) == (
        "ZT023",
        "task.teacher.pretrained",
        True,
    )
    assert "teacher/config.json`: no such file or directory" in finding.message


def test_zt690_a_teacher_without_embeddings_for_some_tokens(teacher: Callable[..., None], one: One) -> None:
    teacher(vocab_size=200)
    finding = one(task=task())

    assert (finding.code, finding.name, finding.severity) == ("ZT690", "small-teacher-vocabulary", Severity.ERROR)
    assert finding.place.key == "task.teacher.pretrained"
    assert finding.message == "the teacher has 200 embeddings for 257 tokens"


def test_zt692_hidden_states_of_two_widths(teacher: Callable[..., None], one: One) -> None:
    teacher(hidden_size=128)
    finding = one(task=task(", hidden_weight: 0.5"))

    assert (finding.code, finding.name, finding.severity) == ("ZT692", "unequal-widths", Severity.ERROR)
    assert finding.place.key == "task.hidden_weight"
    assert finding.message == "hidden states of 64 and 128 numbers cannot be compared"


def test_zt692_widths_may_differ_where_they_are_not_compared(teacher: Callable[..., None], findings: Findings) -> None:
    teacher(hidden_size=128)

    assert findings(task=task(", hidden_layers: [[9, 9]]")) == []


@pytest.mark.parametrize(
    ("pair", "whose"), [("[3, 4]", "student"), ("[-4, 4]", "student"), ("[2, 5]", "teacher"), ("[2, -6]", "teacher")]
)
def test_zt693_a_layer_that_is_not_there(teacher: Callable[..., None], one: One, pair: str, whose: str) -> None:
    teacher()
    finding = one(task=task(f", hidden_weight: 0.5, hidden_layers: [{pair}]"))

    assert (finding.code, finding.name, finding.severity) == ("ZT693", "unknown-layer", Severity.ERROR)
    assert finding.place.key == "task.hidden_layers"
    assert finding.message.startswith(f"the {whose} has no hidden state ")


def test_zt695_nothing_of_the_teacher_counts(teacher: Callable[..., None], one: One, findings: Findings) -> None:
    teacher()
    finding = one(task=task(", soft_weight: 0.0"))

    assert (finding.code, finding.name, finding.severity) == ("ZT695", "unused-teacher", Severity.WARNING)
    assert finding.place.key == "task.soft_weight"
    assert findings(task=task(", soft_weight: 0.0, hidden_weight: 1.0")) == []


def test_zt696_samples_longer_than_the_teacher_takes(teacher: Callable[..., None], one: One) -> None:
    teacher(max_position_embeddings=16)
    finding = one(task=task())

    assert (finding.code, finding.name, finding.severity) == ("ZT696", "short-teacher", Severity.ERROR)
    assert finding.place.key == "data.seq_len"
    assert finding.message == "samples of 32 tokens are longer than the 16 positions of the teacher"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (", temperature: 0", "task.temperature"),
        (", soft_weight: 1.5", "task.soft_weight"),
        (", hidden_weight: -1", "task.hidden_weight"),
        (", hidden_layers: []", "task.hidden_layers"),
        (", hidden_layers: [[1]]", "task.hidden_layers[0]"),
        (", hidden_layers: [[1, x]]", "task.hidden_layers[0][1]"),
    ],
)
def test_a_field_checks_itself(one: One, more: str, key: str) -> None:
    finding = one(task=task(more, "org/name"))

    assert (finding.severity, finding.place.key) == (Severity.ERROR, key)


def test_a_teacher_that_no_model_can_be_made_of_is_not_measured(
    teacher: Callable[..., None], findings: Findings
) -> None:
    teacher(num_attention_heads=7)

    assert findings(task=task(", hidden_weight: 1.0")) == []
