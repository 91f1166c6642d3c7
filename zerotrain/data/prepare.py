"""Text becomes a tokenizer, tokens and samples, once, before any worker starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zerotrain.compile.facts import DataFacts
from zerotrain.data.cache import Layer, Say, cache_root, digest
from zerotrain.data.corpus import Corpus, scan
from zerotrain.data.pretrained import Pretrained, find_pretrained
from zerotrain.data.store import samples_layer
from zerotrain.data.tokenizer import OWN_TOKENIZERS, TokenizerFacts, pretrained_layer
from zerotrain.data.tokens import tokens_layer
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import DataError
from zerotrain.spec.model import DataSpec, PretrainedTokenizer


@dataclass(frozen=True)
class PreparedData:
    """Data that is ready to be read by index."""

    train: Path
    """Directory of the training samples, for `SampleStore.open`."""
    validation: Path | None
    tokenizer: Path
    """Folder of the tokenizer, for transformers."""
    facts: DataFacts


def silent(line: str) -> None:
    """Says nothing."""


def prepare(
    data: DataSpec,
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
    root = cache_root(data.cache)
    problems: list[Diagnostic] = []
    corpora = [scan(data.train, "data.train", problems, say), scan(data.validation, "data.validation", problems, say)]
    pretrained = _pretrained(data, pretrained_model, problems)
    if problems:
        raise DataError(*problems)
    told = _Told(say)
    tokenizer = _tokenizer(root, data, corpora[0], pretrained, max_positions, told)
    stores = [_samples(root, data, corpus, tokenizer, told) for corpus in corpora if corpus.documents]
    prepared = _prepared(stores, tokenizer)
    if not told.anything:
        say(f"reusing prepared data {prepared.facts.fingerprint[:12]}")
    return prepared


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
    root: Path, data: DataSpec, corpus: Corpus, pretrained: Pretrained | None, max_positions: int | None, say: Say
) -> Layer:
    if pretrained is not None:
        return pretrained_layer(root, pretrained, say)
    return OWN_TOKENIZERS[data.tokenizer.type](root, data.tokenizer, corpus, max_positions, say)


def _samples(root: Path, data: DataSpec, corpus: Corpus, tokenizer: Layer, say: Say) -> Layer:
    tokens = tokens_layer(root, corpus, tokenizer, say)
    if not tokens.facts["documents"]:
        fact = f"the tokenizer makes no token of any document in `{corpus.key}`"
        way_out = "use text with more than white space in it, or another tokenizer"
        raise DataError(error("ZT603", "empty-data", fact, help=way_out, key=corpus.key))
    return samples_layer(root, data, tokens, TokenizerFacts(**tokenizer.facts), say)


def _prepared(stores: Sequence[Layer], tokenizer: Layer) -> PreparedData:
    train, validation = stores[0], stores[1] if len(stores) > 1 else None
    known = TokenizerFacts(**tokenizer.facts)
    facts = DataFacts(
        fingerprint=digest([store.name for store in stores]),
        tokenizer_fingerprint=known.fingerprint,
        vocab_size=known.vocab_size,
        eos_token_id=known.eos_token_id,
        pad_token_id=known.pad_token_id,
        train_samples=train.facts["samples"],
        train_tokens=train.facts["trained_tokens"],
        validation_samples=validation.facts["samples"] if validation else 0,
        validation_tokens=validation.facts["trained_tokens"] if validation else 0,
    )
    return PreparedData(train.path, validation.path if validation else None, tokenizer.path, facts)
