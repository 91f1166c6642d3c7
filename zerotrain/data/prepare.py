"""Text becomes a tokenizer, tokens and samples, once, before any worker starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zerotrain.compile.facts import DataFacts
from zerotrain.compile.vocabulary import SPECIAL_TOKENS
from zerotrain.data.cache import Layer, Say, cache_root, digest
from zerotrain.data.corpus import Corpus, scan
from zerotrain.data.forms.base import Form, Preparation
from zerotrain.data.forms.table import FORMS
from zerotrain.data.pretrained import Pretrained, find_pretrained
from zerotrain.data.stores.mixture import mixture_layer
from zerotrain.data.tokenizer import OWN_TOKENIZERS, Own, TokenizerFacts, pretrained_layer
from zerotrain.diagnostic import Diagnostic
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec, PretrainedTokenizer
from zerotrain.spec.task import PretrainTask, TaskSpec


@dataclass(frozen=True)
class PreparedData:
    """Data that is ready to be read by index."""

    train: Path
    """Directory of the training samples, for `open_samples`."""
    validation: Path | None
    tokenizer: Path | None
    """Folder of the tokenizer, for transformers; None where the data is no text."""
    facts: DataFacts


def silent(line: str) -> None:
    """Says nothing."""


_PRETRAIN = PretrainTask()


def prepare(
    data: DataSpec,
    task: TaskSpec = _PRETRAIN,
    *,
    max_positions: int | None = None,
    pretrained_model: str | None = None,
    say: Say = silent,
) -> PreparedData:
    """Returns the samples that the section asks for, reused while text, tokenizer and settings are the same.

    `max_positions` is the limit that a tokenizer of our making tells transformers; `pretrained_model` is where a
    pretrained tokenizer without a path of its own is found; `say` is given lines of progress.
    Raises DataError with every finding about the sources and the tokenizer (ZT601 to ZT604, ZT606), or about the cache
    (ZT605, ZT608). Safe to call in several processes at once.
    """
    root, form = cache_root(data.cache), FORMS[task.type](task)
    problems: list[Diagnostic] = []
    corpora = _scan(data, form, problems, say)
    pretrained = _pretrained(data, pretrained_model, problems)
    if problems:
        raise DataError(*problems)
    told = _Told(say)
    own = Own(SPECIAL_TOKENS.get(task.type, ()), max_positions)
    tokenizer = _tokenizer(root, data, corpora[0], pretrained, own, told)
    layers = [
        _samples(Preparation(root, data, corpus, tokenizer, told), form) for corpus in corpora if corpus.documents
    ]
    prepared = _prepared(layers, tokenizer, form, corpora)
    if not told.anything:
        say(f"reusing prepared data {prepared.facts.fingerprint[:12]}")
    return prepared


def _scan(data: DataSpec, form: Form, problems: list[Diagnostic], say: Say) -> list[Corpus]:
    skip = data.bad_samples == "skip"
    train = scan(data.train, "data.train", form, problems, say, skip=skip)
    form.settle()
    return [train, scan(data.validation, "data.validation", form, problems, say, skip=skip)]


def _samples(preparation: Preparation, form: Form) -> Layer:
    """Returns the samples of all sources together, or of each by itself where a share or a budget is set."""
    corpus = preparation.corpus
    weights = [source.weight for source in corpus.sources]
    is_weighted = len(weights) > 1 and any(weight is not None for weight in weights)
    if not is_weighted and all(source.max_tokens is None for source in corpus.sources):
        return form.layer(preparation)
    parts = [form.layer(replace(preparation, corpus=part)) for part in corpus.parts]
    shares = [1.0 if weight is None else weight for weight in weights] if is_weighted else None
    return mixture_layer(preparation.root, parts, shares, preparation.say) if len(parts) > 1 else parts[0]


class _Told:
    """Passes lines on, and remembers whether there were any: a build that says nothing was not needed."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.anything = False

    def __call__(self, line: str) -> None:
        self.anything = True
        self._say(line)


def _pretrained(data: DataSpec, model: str | None, problems: list[Diagnostic]) -> Pretrained | None:
    if not isinstance(data.tokenizer, PretrainedTokenizer):
        return None
    try:
        return find_pretrained(data.tokenizer, model)
    except DataError as failure:
        problems.extend(failure.findings)
        return None


def _tokenizer(
    root: Path, data: DataSpec, corpus: Corpus, pretrained: Pretrained | None, own: Own, say: Say
) -> Layer | None:
    if data.tokenizer is None:
        return None
    if pretrained is not None:
        return pretrained_layer(root, pretrained, say)
    return OWN_TOKENIZERS[data.tokenizer.type](root, data.tokenizer, corpus, own, say)


def _prepared(layers: Sequence[Layer], tokenizer: Layer | None, form: Form, corpora: Sequence[Corpus]) -> PreparedData:
    train, validation = layers[0], layers[1] if len(layers) > 1 else None
    known = TokenizerFacts(**tokenizer.facts) if tokenizer else None
    facts = DataFacts(
        fingerprint=digest([layer.name for layer in layers]),
        tokenizer_fingerprint=known.fingerprint if known else "",
        vocab_size=known.vocab_size if known else 0,
        eos_token_id=known.eos_token_id if known else 0,
        pad_token_id=known.pad_token_id if known else 0,
        train_samples=train.facts["samples"],
        train_tokens=train.facts["tokens"],
        validation_samples=validation.facts["samples"] if validation else 0,
        validation_tokens=validation.facts["tokens"] if validation else 0,
        labels=list(form.labels),
        skipped=sum(sum(corpus.skipped.values()) for corpus in corpora)
        + sum(layer.facts.get("skipped", 0) for layer in layers),
    )
    folder = tokenizer.path if tokenizer else None
    return PreparedData(train.path, validation.path if validation else None, folder, facts)
