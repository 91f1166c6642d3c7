"""ZT4: parallel axes and machines."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import GPUS
from zerotrain.spec.suggest import listed, nearest


@reported_by("compiling a spec", "ZT401", "unfilled-axes")
def unfilled_axes() -> None:
    """The number of ranks is not a multiple of the parallel degrees' product.

    Why: some ranks would belong to no group; DeepSpeed fails with an assertion that has no text.
    Wrong: `parallel: {tp: 4}` on 6 ranks
    Right: `parallel: {tp: 2}` on 6 ranks
    """


@rule("ZT403", "unknown-gpu")
def unknown_gpu(case: Case) -> Iterator[Diagnostic]:
    """The accelerator is not in the table.

    Why: which number formats run, and how fast, is looked up under its name.
    Wrong: `hardware: {gpu: H1000}`
    Right: `hardware: {gpu: H100-SXM}`
    """
    if case.gpu is None:
        name = case.spec.hardware.gpu
        family = [known for known in GPUS if known.lower().startswith(f"{name.lower()}-")]
        near = nearest(name, GPUS)
        help = f"did you mean `{near}`?" if near else f"known: {listed(GPUS, 'and')}"
        help = f"which one: {listed(family, 'or')}?" if family else help
        yield case.error("hardware.gpu", f"`{name}` is not a known accelerator", help=help)


RULES: tuple[Rule, ...] = (unfilled_axes, unknown_gpu)
