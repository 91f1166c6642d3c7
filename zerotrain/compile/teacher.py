"""The teacher of a distillation, and whether it can teach this student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zerotrain.arch.describe import architectures, model_shape, shape_problems, supported_heads
from zerotrain.arch.shape import ModelShape
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.hardware.surroundings import Surroundings
from zerotrain.spec.pretrained import config_of
from zerotrain.spec.run import RunSpec
from zerotrain.spec.task import DistillTask

TEACHER = "task.teacher.pretrained"


@dataclass(frozen=True)
class Sizes:
    """What of a model matters to the other; None where it is unknown."""

    vocab_size: int | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    max_positions: int | None = None

    @classmethod
    def of(cls, shape: ModelShape | None) -> Sizes:
        """Returns the sizes of a shape."""
        if shape is None:
            return cls()
        return cls(shape.vocab_size, shape.hidden_size, shape.num_layers, shape.max_positions)


def teacher_config(spec: RunSpec, surroundings: Surroundings) -> Mapping[str, Any] | Diagnostic | None:
    """Returns the config of the teacher, None without one or for a hub id, or a finding about a folder of no use."""
    if not isinstance(spec.task, DistillTask):
        return None
    name = spec.task.teacher.pretrained
    return config_of(name, surroundings.path(name), TEACHER)


def teacher_shape(config: Mapping[str, Any] | Diagnostic | None) -> ModelShape | None:
    """Returns the shape of the teacher, or None when zerotrain does not know the architecture or it is impossible."""
    architecture = config["model_type"] if isinstance(config, Mapping) else None
    if architecture not in architectures() or "causal_lm" not in supported_heads(architecture):
        return None
    assert isinstance(config, Mapping)
    return None if shape_problems(architecture, config, "causal_lm") else model_shape(architecture, config, "causal_lm")


def unfit(
    task: DistillTask, student: Sizes, teacher: Sizes, *, tokens: int | None, length: int | None
) -> Iterator[Diagnostic]:
    """Yields why a teacher cannot teach this student on samples of so many `tokens` and this `length`."""
    if tokens and teacher.vocab_size is not None and teacher.vocab_size < tokens:
        message = f"the teacher has {teacher.vocab_size} embeddings for {tokens} tokens"
        help = "student and teacher read the same tokens: use the teacher's tokenizer, `{type: pretrained, path: …}`"
        yield error("ZT690", "small-teacher-vocabulary", message, help=help, key=TEACHER)
    if length and teacher.max_positions is not None and teacher.max_positions < length:
        message = f"samples of {length} tokens are longer than the {teacher.max_positions} positions of the teacher"
        help = f"use at most {teacher.max_positions}, or another teacher"
        yield error("ZT696", "short-teacher", message, help=help, key="data.seq_len")
    if not task.hidden_weight:
        return
    if None not in (student.hidden_size, teacher.hidden_size) and student.hidden_size != teacher.hidden_size:
        message = f"hidden states of {student.hidden_size} and {teacher.hidden_size} numbers cannot be compared"
        help = "use `hidden_weight: 0`, or a student as wide as the teacher"
        yield error("ZT692", "unequal-widths", message, help=help, key="task.hidden_weight")
    yield from _unknown_layers(task, student, teacher)


def _unknown_layers(task: DistillTask, student: Sizes, teacher: Sizes) -> Iterator[Diagnostic]:
    for whose, place, layers in (("student", 0, student.num_layers), ("teacher", 1, teacher.num_layers)):
        for pair in task.hidden_layers:
            if layers is not None and not -layers - 1 <= pair[place] <= layers:
                message = f"the {whose} has no hidden state {pair[place]}: there are 0 to {layers}, and -1 for the last"
                help = "name a layer that is there"
                yield error("ZT693", "unknown-layer", message, help=help, key="task.hidden_layers")
