"""ZT65, ZT66: chats and preferences."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.task import DpoTask

_PREPARING = "preparing data"


@reported_by(_PREPARING, "ZT650", "no-chat-template")
def no_chat_template() -> None:
    """The data has messages, but the tokenizer has no chat template.

    Why: the template decides how a model sees who says what; it must be the one that the model is talked to with later,
    so none is guessed.
    Wrong: the tokenizer of a base model, and a record with `messages`
    Right: the tokenizer of a chat model, or a `chat_template.jinja` beside its `tokenizer.json`
    """


@reported_by(_PREPARING, "ZT651", "unrenderable-chat")
def unrenderable_chat() -> None:
    """The chat template refuses a record.

    Why: some templates know no system message, or want user and assistant to take turns; what they refuse in training
    they would refuse in use.
    Wrong: two messages of `user` in a row
    Right: one message of `user`, then one of `assistant`
    """


@reported_by(_PREPARING, "ZT652", "missing-answer")
def missing_answer() -> None:
    """A chat does not end with an answer.

    Why: only answers are trained, and what stands after the last one is not.
    Wrong: `{"messages": [{"role": "user", "content": "hello"}]}`
    Right: `{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]}`
    """


@reported_by(_PREPARING, "ZT653", "wrong-message")
def wrong_message() -> None:
    """A message has no known role, or says nothing.

    Why: a template writes an unknown role as it is, and no later chat has it.
    Wrong: `{"role": "gpt", "content": "good day"}`
    Right: `{"role": "assistant", "content": "good day"}`
    """


@reported_by(_PREPARING, "ZT654", "moving-template")
def moving_template() -> None:
    """The chat template renders a message differently when others follow, so answers cannot be told from the rest.

    Why: templates that leave out the thoughts of earlier turns do that; what would be trained is not what is seen.
    Wrong: a chat of several answers under such a template
    Right: one record for each answer, with the turns before it as `prompt`, or a template that marks its answers with
    `{% generation %}`
    """


@reported_by(_PREPARING, "ZT655", "special-token")
def special_token() -> None:
    """A message contains the text of a special token.

    Why: in a rendered chat it would become that token, and end a turn in the middle of a message.
    Wrong: `{"role": "user", "content": "what does <|im_end|> mean?"}`
    Right: `{"role": "user", "content": "what does im_end mean?"}`
    """


@reported_by(_PREPARING, "ZT656", "overlong-record")
def overlong_record() -> None:
    """Records have more tokens than `data.seq_len`.

    Why: an answer that is cut has no end, and a model trained on it learns none.
    Wrong: `{seq_len: 128}` with `too_long: refuse` and chats of 200 tokens
    Right: `{seq_len: 256}`
    """


@reported_by(_PREPARING, "ZT657", "untrained-record")
def untrained_record() -> None:
    """Nothing of a record is trained.

    Why: when the prompt alone fills `data.seq_len`, cutting leaves no answer.
    Wrong: `too_long: cut` with `seq_len: 64` and prompts of 100 tokens
    Right: a larger `seq_len`, or `too_long: drop`
    """


@rule("ZT658", "concatenated-chats")
def concatenated_chats(case: Case) -> Iterator[Diagnostic]:
    """Chats are packed into one stream.

    Why: a stream is cut anywhere, and an answer would see the chats before its own.
    Wrong: `{task: {type: sft}, data: {packing: concat}}`
    Right: `{task: {type: sft}, data: {packing: isolated}}`
    """
    if case.spec.task.type == "sft" and case.spec.data.packing == "concat":
        message = "`concat` cuts chats anywhere and lets them see each other"
        yield case.error("data.packing", message, help="use `isolated` or `none`")


@reported_by("beginning to train", "ZT660", "lost-reference")
def lost_reference() -> None:
    """A run cannot be continued without what its model said before it was trained.

    Why: the preference is measured against the untrained model, which no longer exists.
    Wrong: a run directory copied without `reference/`
    Right: the whole run directory
    """


@reported_by("beginning to train", "ZT661", "unwritten-reference")
def unwritten_reference() -> None:
    """What the untrained model says of the data cannot be written to the run directory.

    Why: without it the run could not be continued after an interruption.
    Wrong: a full disk
    Right: some space
    """


@reported_by(_PREPARING, "ZT662", "equal-answers")
def equal_answers() -> None:
    """Both answers of a pair are the same.

    Why: nothing can be learned from a choice between equals.
    Wrong: `{"prompt": "2 + 2 =", "chosen": "4", "rejected": "4"}`
    Right: `{"prompt": "2 + 2 =", "chosen": "4", "rejected": "5"}`
    """


@rule("ZT663", "unused-smoothing")
def unused_smoothing(case: Case) -> Iterator[Diagnostic]:
    """Label smoothing is given for a loss that has none.

    Why: only the loss `sigmoid` of DPO has a probability that labels are wrong.
    Wrong: `task: {type: dpo, loss: ipo, label_smoothing: 0.1}`
    Right: `task: {type: dpo, loss: sigmoid, label_smoothing: 0.1}`
    """
    task = case.spec.task
    if isinstance(task, DpoTask) and task.loss != "sigmoid" and task.label_smoothing:
        message = f"the loss `{task.loss}` has no smoothing, but `label_smoothing` is {task.label_smoothing:g}"
        yield case.error("task.label_smoothing", message, help="remove it, or use `loss: sigmoid`")


@rule("ZT664", "several-rewards")
def several_rewards(case: Case) -> Iterator[Diagnostic]:
    """A reward model is asked for another number of outputs than one.

    Why: a reward is one number; further outputs would never be trained.
    Wrong: `{task: {type: reward}, model: {config: {num_labels: 2}}}`
    Right: `{task: {type: reward}}`
    """
    config = case.spec.model.config
    for key in ("num_labels", "id2label"):
        if case.spec.task.type == "reward" and key in config and config[key] != 1:
            yield case.error(f"model.config.{key}", "a reward is one number", help="remove the key")


RULES: tuple[Rule, ...] = (
    no_chat_template,
    unrenderable_chat,
    missing_answer,
    wrong_message,
    moving_template,
    special_token,
    overlong_record,
    untrained_record,
    concatenated_chats,
    lost_reference,
    unwritten_reference,
    equal_answers,
    unused_smoothing,
    several_rewards,
)
