"""ZT6: data."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.vocabulary import IMAGE_TASKS, vocabulary_size
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.data import PretrainedTokenizer

_PREPARING = "preparing data"


@reported_by(_PREPARING, "ZT601", "missing-data")
def missing_data() -> None:
    """A path matches no file.

    Why: a run on less data than was meant looks like any other run.
    Wrong: `{type: text, path: "corpus/*.text"}`
    Right: `{type: text, path: "corpus/*.txt"}`
    """


@reported_by(_PREPARING, "ZT602", "not-utf8")
def not_utf8() -> None:
    """A text file is not UTF-8.

    Why: read in another encoding its words become other words, and nothing tells later.
    Wrong: a file saved as Latin-1
    Right: `iconv -f latin1 -t utf-8 old.txt > new.txt`
    """


@reported_by(_PREPARING, "ZT603", "empty-data")
def empty_data() -> None:
    """There is nothing to train or evaluate on.

    Why: no sample can be made of no text.
    Wrong: a source whose files are all empty
    Right: a source with text in it
    """


@reported_by(_PREPARING, "ZT604", "unreadable-data")
def unreadable_data() -> None:
    """A data file cannot be opened.

    Why: leaving it out would train on other data than was asked for.
    Wrong: a file without read permission
    Right: `chmod +r` on it
    """


@reported_by(_PREPARING, "ZT605", "unwritable-cache")
def unwritable_cache() -> None:
    """Prepared data cannot be written to the cache.

    Why: samples are read from the cache; a full disk or a missing permission stops the preparation.
    Wrong: `data: {cache: /readonly}`
    Right: `data: {cache: /scratch/me/zerotrain}`
    """


@reported_by(_PREPARING, "ZT606", "unreadable-tokenizer")
def unreadable_tokenizer() -> None:
    """The tokenizer cannot be loaded.

    Why: it needs a `tokenizer.json` and an end-of-text token, which separates documents.
    Wrong: `tokenizer: {type: pretrained, path: ./weights-only}`
    Right: `tokenizer: {type: pretrained, path: ./model-with-tokenizer}`
    """


@reported_by(_PREPARING, "ZT607", "empty-document")
def empty_document() -> None:
    """Some documents are empty.

    Why: they give no tokens and are skipped; that is said, in case they were not meant to be empty.
    Wrong: an empty file in the corpus
    Right: the file removed
    """


@reported_by("opening prepared data", "ZT608", "damaged-store")
def damaged_store() -> None:
    """Prepared data in the cache does not have the sizes it was written with.

    Why: something has changed or cut the files; training on them would read wrong tokens.
    Wrong: a cache copied while it was written
    Right: the directory deleted; it is made again at the next start
    """


@rule("ZT610", "overlong-sequence")
def overlong_sequence(case: Case) -> Iterator[Diagnostic]:
    """Samples are longer than the model takes.

    Why: positions beyond the model's last one fail at an index, or are extrapolated without a word.
    Wrong: `seq_len: 4096` with `max_position_embeddings: 2048`
    Right: `max_position_embeddings: 4096`
    """
    limit = case.shape.max_positions if case.shape else None
    length = case.spec.data.seq_len
    if limit is not None and length is not None and length > limit:
        message = f"samples of {length} tokens are longer than the {limit} positions of the model"
        yield case.error("data.seq_len", message, help=f"use at most {limit}, or raise the model's positions")


@rule("ZT611", "small-vocabulary")
def small_vocabulary(case: Case) -> Iterator[Diagnostic]:
    """The model has fewer embeddings than the tokenizer has tokens.

    Why: a token without an embedding fails at an index, at the first sample that has it.
    Wrong: `vocab_size: 1000` in the model, 4096 in the tokenizer
    Right: no `vocab_size` in the model: it is taken from the tokenizer
    """
    tokens, embeddings = vocabulary_size(case.spec), case.model[1].get("vocab_size")
    if tokens is not None and isinstance(embeddings, int) and embeddings < tokens:
        message = f"the model has {embeddings} embeddings for {tokens} tokens"
        yield case.error("model.config.vocab_size", message, help="remove it, or use a smaller tokenizer")


@rule("ZT612", "tokenizer-without-path")
def tokenizer_without_path(case: Case) -> Iterator[Diagnostic]:
    """An existing tokenizer is asked for, but not which.

    Why: only a pretrained model brings its own.
    Wrong: `{model: {architecture: llama}, data: {tokenizer: {type: pretrained}}}`
    Right: `tokenizer: {type: pretrained, path: org/name}`
    """
    tokenizer = case.spec.data.tokenizer
    if isinstance(tokenizer, PretrainedTokenizer) and tokenizer.path is None and case.spec.model.pretrained is None:
        yield case.error("data.tokenizer", "no tokenizer is named", help="add `path:` with a folder or hub id")


@reported_by(_PREPARING, "ZT613", "missing-column")
def missing_column() -> None:
    """Records lack a column that the task needs.

    Why: without it there is nothing to train on; another column is not guessed.
    Wrong: `{type: jsonl, path: reviews.jsonl}`, whose lines have `review` and `stars`
    Right: `{type: jsonl, path: reviews.jsonl, columns: {text: review, label: stars}}`
    """


@reported_by(_PREPARING, "ZT614", "broken-line")
def broken_line() -> None:
    """Lines of a file cannot be read.

    Why: a line cut off in the middle often means a file cut off in the middle.
    Wrong: `{"text": "an unfinished`
    Right: `{"text": "a whole line"}`
    """


@reported_by(_PREPARING, "ZT615", "wrong-type")
def wrong_type() -> None:
    """A column holds values of another type than the task needs.

    Why: a number where text is meant, or text where a number is meant, would be trained as something else.
    Wrong: `{"text": 42}`
    Right: `{"text": "42"}`
    """


@reported_by(_PREPARING, "ZT616", "unknown-label")
def unknown_label() -> None:
    """Records have a label that is no class of the run.

    Why: the classes are those that `task.labels` names, or else those of the training data; a model has no output for
    any other.
    Wrong: `task: {type: sequence_classification, labels: [bad, good]}` and a record with the label `great`
    Right: `labels: [bad, good, great]`
    """


@rule("ZT617", "text-without-tokenizer")
def text_without_tokenizer(case: Case) -> Iterator[Diagnostic]:
    """A task on text has no tokenizer, or no length of its samples.

    Why: text becomes tokens by a tokenizer, and samples by a length; only images do without.
    Wrong: `data: {train: [{type: python_stdlib}]}`
    Right: `data: {train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 256}`
    """
    data = case.spec.data
    if case.spec.task.type in IMAGE_TASKS:
        return
    if data.tokenizer is None:
        yield case.error("data", "no `tokenizer` says how text becomes tokens", help="add `tokenizer: {type: bytes}`")
    if data.seq_len is None:
        yield case.error("data", "no `seq_len` says how many tokens a sample has", help="add `seq_len: 256`")


@rule("ZT618", "tokens-of-images")
def tokens_of_images(case: Case) -> Iterator[Diagnostic]:
    """A length is given in tokens, but images have none.

    Why: how many steps so many tokens are cannot be said.
    Wrong: `{task: {type: image_classification}, horizon: 2B tokens}`
    Right: `{task: {type: image_classification}, horizon: 10 epochs}`
    """
    spec = case.spec
    lengths = {
        "horizon": spec.horizon,
        "schedule.warmup": getattr(spec.schedule, "warmup", None),
        "checkpoint.save_every": spec.checkpoint.save_every,
        "evaluation.every": spec.evaluation.every,
        "export.every": spec.export and spec.export.every,
        "archive.every": spec.archive and spec.archive.every,
    }
    for key, length in lengths.items():
        if spec.task.type in IMAGE_TASKS and length is not None and length.unit == "tokens":
            yield case.error(key, f"`{length}` is a number of tokens, but images have none", help="use epochs or steps")


RULES: tuple[Rule, ...] = (
    missing_data,
    not_utf8,
    empty_data,
    unreadable_data,
    unwritable_cache,
    unreadable_tokenizer,
    empty_document,
    damaged_store,
    overlong_sequence,
    small_vocabulary,
    tokenizer_without_path,
    missing_column,
    broken_line,
    wrong_type,
    unknown_label,
    text_without_tokenizer,
    tokens_of_images,
)
