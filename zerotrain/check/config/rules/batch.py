"""DeepSpeed configs: the batch triple."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from zerotrain.check.config.case import AUTO, ConfigCase, whole
from zerotrain.check.config.rules.axes import sequence_ranks
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

TRAIN, MICRO, STEPS = "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"
_CORES = 8
"""What DeepSpeed wants a vocabulary to be a multiple of; runtime/config.py."""


@dataclass(frozen=True)
class Batch:
    """The sizes that are given as positive whole numbers; None for one that is derived or filled."""

    train: int | None
    micro: int | None
    steps: int | None

    def fits(self, ranks: int | Fraction) -> bool:
        """Tells whether DeepSpeed finds whole sizes for a number of data-parallel ranks."""
        if self.train is None:
            return True
        known = (self.micro or 1) * (self.steps or 1) * ranks
        return self.train == known if self.micro and self.steps else self.train % known == 0


def batch_of(case: ConfigCase) -> Batch | None:
    """Returns the sizes, or None when one of them is no positive whole number."""
    sizes: list[int | None] = []
    for key in (TRAIN, MICRO, STEPS):
        value = case.get(key)
        size = int(value) if isinstance(value, bool) else whole(value)
        if (size is None and value is not None and not _is_filled(case, value)) or (size is not None and size <= 0):
            return None
        sizes.append(size)
    if case.reader != "raw" and not case.has(STEPS):
        sizes[2] = 1
    return Batch(*sizes)


def data_ranks(case: ConfigCase) -> Fraction | None:
    """Returns the ranks the batch arithmetic counts, or None when nobody knows.

    DeepSpeed divides the world by `sequence_parallel_size` without asking whether that leaves a whole number.
    """
    if not case.world_size or case.is_compiled:
        return None
    size = sequence_ranks(case) if case.has("data_parallel_size") else whole(case.get("sequence_parallel_size")) or 1
    return None if size < 1 else Fraction(case.world_size, size)


def _is_filled(case: ConfigCase, value: object) -> bool:
    return value == AUTO and case.reader != "raw"


@config_rule("ZT120", "missing-batch-size")
def missing_batch_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """The config has neither a global nor a micro-batch size.

    Why: DeepSpeed needs one of them to derive the others and stops with an `AssertionError`;
    `gradient_accumulation_steps` alone says nothing. HF Trainer and Accelerate fill only sizes that are there as
    `auto`.
    Wrong: `{"gradient_accumulation_steps": 4}`
    Right: `{"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4}`
    """
    if case.get(TRAIN) is None and case.get(MICRO) is None:
        message = f"neither `{TRAIN}` nor `{MICRO}` is given"
        value = "a number" if case.reader == "raw" else '`"auto"`'
        yield case.error(TRAIN, message, help=f"add `{MICRO}` with {value}")


@config_rule("ZT121", "impossible-batch-size")
def impossible_batch_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """The batch sizes contradict each other, or one of them is not positive.

    Why: `train_batch_size` must be the micro-batch times the accumulation steps times the data-parallel ranks. A size
    that is left out is derived by a division that drops the rest, after which the product is compared, so that
    DeepSpeed refuses whatever does not divide.
    Wrong: `{"train_batch_size": 10, "train_micro_batch_size_per_gpu": 4}`
    Right: `{"train_batch_size": 16, "train_micro_batch_size_per_gpu": 4}`
    """
    yield from _not_positive(case)
    batch = batch_of(case)
    if batch is None or batch.train is None:
        return
    parts = [f"{size}" for size in (batch.micro, batch.steps) if size]
    ranks = data_ranks(case)
    if not any(batch.fits(count) for count in (1, _pinned(batch))):
        message = f"`{TRAIN}` {batch.train} is no multiple of {' x '.join(parts)}"
        yield case.error(TRAIN, message, help=f"make it a multiple of `{MICRO}` x `{STEPS}`, or leave it out")
    elif ranks is not None and not batch.fits(ranks):
        product = " x ".join([*parts, f"{ranks} data-parallel rank{'s' * (ranks != 1)}"])
        relation = "is not" if len(parts) == 2 else "is no multiple of"
        message = f"`{TRAIN}` {batch.train} {relation} {product}"
        yield case.error(TRAIN, message, help=f"leave `{TRAIN}` out, and DeepSpeed derives it for any number of ranks")


def _pinned(batch: Batch) -> int:
    """Returns the only number of ranks the sizes fit, rounded down, or 1."""
    return max(1, (batch.train or 0) // ((batch.micro or 1) * (batch.steps or 1)))


def _not_positive(case: ConfigCase) -> Iterator[Diagnostic]:
    for key in (TRAIN, MICRO, STEPS):
        value = case.get(key)
        if isinstance(value, int | float) and value <= 0:
            message = f"`{key}` is {str(value).lower()}, and must be at least 1"
            yield case.error(key, message, help="write a positive whole number")


@config_rule("ZT122", "pinned-world-size")
def pinned_world_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """All three batch sizes are given, so that the config runs on one number of ranks only.

    Why: DeepSpeed refuses the config on any other number of data-parallel ranks. With one size left out it fits more.
    Wrong: `{"train_batch_size": 64, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}`
    Right: `{"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}`
    """
    batch = batch_of(case)
    if batch is None or case.world_size is not None or not (batch.train and batch.micro and batch.steps):
        return
    ranks = _pinned(batch)
    if batch.fits(ranks):
        message = f"{batch.train} = {batch.micro} x {batch.steps} x {ranks} holds on {ranks} data-parallel ranks only"
        yield case.info(TRAIN, message, help=f"leave `{TRAIN}` out to run on any number")


@config_rule("ZT123", "odd-batch-size")
def odd_batch_size(case: ConfigCase) -> Iterator[Diagnostic]:
    """A batch size is a fraction or a truth value.

    Why: DeepSpeed calculates with whatever it finds: `true` counts as 1, and 1.5 passes until a data loader is built
    or never ends an accumulation.
    Wrong: `{"train_micro_batch_size_per_gpu": 1.5}`
    Right: `{"train_micro_batch_size_per_gpu": 2}`
    """
    for key in (TRAIN, MICRO, STEPS):
        value = case.get(key)
        if value is True:
            yield case.warning(key, f"`{key}` is `true`, which counts as 1", help="write a whole number")
        elif isinstance(value, float) and value > 0:
            message = f"`{key}` {value} is no whole number to a data loader"
            yield case.warning(key, message, help="write one without a point")


@config_rule("ZT124", "zero-steps-per-print")
def zero_steps_per_print(case: ConfigCase) -> Iterator[Diagnostic]:
    """Progress is to be reported every 0 steps.

    Why: DeepSpeed divides by the number after the first step and dies with a `ZeroDivisionError`. HF Trainer and
    Accelerate overwrite the key.
    Wrong: `{"steps_per_print": 0}`
    Right: `{"steps_per_print": null}`, which reports nothing
    """
    value = case.get("steps_per_print")
    if case.reader == "raw" and isinstance(value, int | float) and value == 0:
        yield case.error("steps_per_print", "DeepSpeed divides by `steps_per_print`, which is 0", help="write `null`")


@config_rule("ZT125", "unaligned-vocabulary")
def unaligned_vocabulary(case: ConfigCase) -> Iterator[Diagnostic]:
    """The vocabulary is no multiple of 8.

    Why: `vocabulary_size` changes nothing; DeepSpeed only logs that such a matrix does not fit tensor cores well. The
    model's own embedding decides, and is the one to pad.
    Wrong: `{"vocabulary_size": 50257}`
    Right: `{"vocabulary_size": 50304}` with a model that is padded to it
    """
    size = whole(case.get("vocabulary_size"))
    if size and size > 0 and size % _CORES:
        message = f"a vocabulary of {size} is no multiple of {_CORES}, which is slow on tensor cores"
        yield case.info("vocabulary_size", message, help=f"pad the model to {size + _CORES - size % _CORES}")


@config_rule("ZT126", "unfilled-accumulation")
def unfilled_accumulation(case: ConfigCase) -> Iterator[Diagnostic]:
    """HF Trainer or Accelerate reads a config without accumulation steps.

    Why: Accelerate then writes 1 into the config, after the Trainer's settings were compared with it, and DeepSpeed's
    number wins: `--gradient_accumulation_steps` of the Trainer has no effect.
    Wrong: `{"train_micro_batch_size_per_gpu": "auto"}`
    Right: `{"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"}`
    """
    if case.reader != "raw" and not case.has(STEPS) and (case.has(TRAIN) or case.has(MICRO)):
        message = f"without `{STEPS}` Accelerate takes 1, whatever the script is told"
        yield case.info(STEPS, message, help=f'add `"{STEPS}": "auto"`')


RULES: tuple[Rule, ...] = (
    missing_batch_size,
    impossible_batch_size,
    pinned_world_size,
    odd_batch_size,
    zero_steps_per_print,
    unaligned_vocabulary,
    unfilled_accumulation,
)
