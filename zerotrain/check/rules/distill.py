"""ZT69: a teacher and its student."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.teacher import Sizes, teacher_config, teacher_shape, unfit
from zerotrain.compile.vocabulary import vocabulary_size
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.task import DistillTask


@rule("ZT690", "small-teacher-vocabulary")
def small_teacher_vocabulary(case: Case) -> Iterator[Diagnostic]:
    """The teacher has fewer embeddings than the tokenizer has tokens.

    Why: the teacher is shown every token of the data, and its prediction is compared over the whole vocabulary.
    Wrong: a teacher with a `vocab_size` of 4096 and `tokenizer: {type: bpe, vocab_size: 8192}`
    Right: `tokenizer: {type: pretrained, path: ./teacher}`
    """
    yield from _unfit(case, "ZT690")


@reported_by("preparing data", "ZT691", "other-vocabulary")
def other_vocabulary() -> None:
    """The teacher's tokenizer gives tokens other numbers than the run's.

    Why: student and teacher are compared token by token; a number that means another token to the teacher makes the
    comparison, and what the teacher sees, nonsense.
    Wrong: a tokenizer trained on other text than the teacher's, of the same size
    Right: `tokenizer: {type: pretrained, path: ./teacher}`
    """


@rule("ZT692", "unequal-widths")
def unequal_widths(case: Case) -> Iterator[Diagnostic]:
    """Hidden states of different widths are to be compared.

    Why: a mean squared error needs vectors of one length; a projection between them would be trained along, and be
    part of neither model.
    Wrong: `hidden_weight: 1.0` with a `hidden_size` of 256 in the student and 512 in the teacher
    Right: `hidden_weight: 0`, or a student with fewer layers and the teacher's `hidden_size`
    """
    yield from _unfit(case, "ZT692")


@rule("ZT693", "unknown-layer")
def unknown_layer(case: Case) -> Iterator[Diagnostic]:
    """A hidden state is named that the student or the teacher does not have.

    Why: a model of N layers has the hidden states 0 (its embeddings) to N, and -1 is the last of them.
    Wrong: `hidden_layers: [[4, 12]]` with a teacher of 8 layers
    Right: `hidden_layers: [[4, 8]]`
    """
    yield from _unfit(case, "ZT693")


@reported_by("building the teacher", "ZT694", "unloadable-teacher")
def unloadable_teacher() -> None:
    """The teacher cannot be loaded, or lacks weights that it needs to predict text.

    Why: weights that are missing would be drawn at random, and the student would learn to predict noise.
    Wrong: a folder with the weights of an encoder, or with a `config.json` alone
    Right: a folder or hub id with a language model's weights
    """


@rule("ZT695", "unused-teacher")
def unused_teacher(case: Case) -> Iterator[Diagnostic]:
    """Nothing of the teacher enters the loss.

    Why: the teacher predicts every sample all the same, and costs its time and memory.
    Wrong: `{type: distill, teacher: {pretrained: ./teacher}, soft_weight: 0}`
    Right: `{type: pretrain}`
    """
    task = case.spec.task
    if isinstance(task, DistillTask) and not task.soft_weight and not task.hidden_weight:
        message = "with `soft_weight` and `hidden_weight` 0 nothing of the teacher enters the loss"
        yield case.warning("task.soft_weight", message, help="use `{type: pretrain}`, or a larger weight")


@rule("ZT696", "short-teacher")
def short_teacher(case: Case) -> Iterator[Diagnostic]:
    """Samples are longer than the teacher takes.

    Why: positions beyond its last one fail at an index, or are extrapolated without a word.
    Wrong: `seq_len: 2048` and a teacher with `max_position_embeddings: 1024`
    Right: `seq_len: 1024`
    """
    yield from _unfit(case, "ZT696")


def _unfit(case: Case, code: str) -> Iterator[Diagnostic]:
    task = case.spec.task
    if not isinstance(task, DistillTask):
        return
    teacher = Sizes.of(teacher_shape(teacher_config(case.spec, case.surroundings)))
    tokens, length = vocabulary_size(case.spec), case.spec.data.seq_len
    for finding in unfit(task, Sizes.of(case.shape), teacher, tokens=tokens, length=length):
        if finding.code == code:
            yield finding


RULES: tuple[Rule, ...] = (
    small_teacher_vocabulary,
    other_vocabulary,
    unequal_widths,
    unknown_layer,
    unloadable_teacher,
    unused_teacher,
    short_teacher,
)
