"""Where `lint` and DeepSpeed disagree."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from truth.cases import Case
from truth.oracle import Outcome
from zerotrain.check.config.case import ConfigCase, Model
from zerotrain.check.config.runner import Circumstances, case_of, lint_tree
from zerotrain.diagnostic import Diagnostic, Severity
from zerotrain.hardware.gpus import find_gpu
from zerotrain.spec.tree import parse

Kind = Literal["false accept", "false refusal", "not in force", "the machine", "the model"]
FAULTS: tuple[Kind, ...] = ("false accept", "false refusal", "not in force")

OF_THE_MACHINE = (
    "not supported on your device",
    "async_io",
    "No module named",
    "local variable 'Mu",
    "Please install",
    "Failed to import",
    "Weights only load failed",
)
"""What DeepSpeed says when something is missing that the declared hardware does not tell of."""
OF_THE_MODEL = ("AutoTP", "tp_plan", "tensor parallel")
"""What DeepSpeed says when it cannot split the layers of a model, of which the config tells nothing."""

SAID: Mapping[str, Model] = {"llama": "dense", "lora": "dense", "mixtral": "moe", "moe layer": "moe-layers"}
"""What lint is told of each model; all else it must know from the config."""


@dataclass(frozen=True)
class Disagreement:
    """A case lint judges otherwise than DeepSpeed does."""

    kind: Kind
    case: Case
    outcome: Outcome
    findings: tuple[Diagnostic, ...]
    detail: str

    @property
    def cause(self) -> str:
        """The same for cases that are likely to have the same reason."""
        return re.sub(r"\d+", "N", self.detail)[:60]


def around(case: Case) -> Circumstances:
    return Circumstances("raw", world_size=case.world_size, gpu=find_gpu("cpu"), model=SAID[case.model])


def lint(case: Case) -> list[Diagnostic]:
    return lint_tree(parse(case.text, "ds_config.json"), around(case))


def compare(case: Case, outcome: Outcome) -> list[Disagreement]:
    """Returns every disagreement about a case."""
    findings = tuple(lint(case))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if outcome.verdict != "works":
        refusal = f"{outcome.error} at {outcome.stage}: {outcome.message}"
        return [] if errors else [Disagreement(refused_for(outcome), case, outcome, findings, refusal)]
    if errors:
        detail = f"{errors[0].code} {errors[0].name}: {errors[0].message}"
        return [Disagreement("false refusal", case, outcome, findings, detail)]
    others = difference(case, outcome, findings)
    return [Disagreement("not in force", case, outcome, findings, detail) for detail in others]


def refused_for(outcome: Outcome) -> Kind:
    if any(words in outcome.message for words in OF_THE_MACHINE):
        return "the machine"
    return "the model" if any(words in outcome.message for words in OF_THE_MODEL) else "false accept"


def difference(case: Case, outcome: Outcome, findings: tuple[Diagnostic, ...]) -> Iterator[str]:
    """Yields each value that is not in force although the config says so and lint is silent about it."""
    config = case_of(case.config, around(case))
    for key, expected in promised(config).items():
        actual = outcome.in_force[KEYS.get(key, key)]
        if not equal(actual, expected) and not any(about(finding, key) for finding in findings):
            yield f"`{key}` is {actual!r}, not {expected!r}"


KEYS = {
    "zero_optimization.stage": "stage",
    "zero_optimization.offload_optimizer": "offloads_optimizer",
    "data_types.grad_accum_dtype": "grad_accum_dtype",
}
"""Name of what a key decides in `Outcome.in_force`, where it is another."""
DTYPES = {"float32": "fp32", "float": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16"}
"""Other spellings DeepSpeed reads."""
OLD_NAMES = {"zero_optimization.offload_optimizer": "zero_optimization.cpu_offload"}
BATCH = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


def promised(config: ConfigCase) -> dict[str, Any]:
    """Returns what a reader of the config would expect to be in force."""
    written = {key: config.get(key) for key in BATCH if config.has(key)}
    accumulated = config.value("data_types.grad_accum_dtype")
    return {
        **written,
        "zero_optimization.stage": config.stage,
        "precision": config.precision,
        "gradient_clipping": config.value("gradient_clipping"),
        "zero_optimization.offload_optimizer": config.device("offload_optimizer") is not None,
        "data_types.grad_accum_dtype": DTYPES.get(str(accumulated), accumulated) or config.precision,
    }


def equal(actual: Any, expected: Any) -> bool:
    if isinstance(actual, int | float) and isinstance(expected, int | float):
        return math.isclose(actual, expected)
    return actual == expected


def about(finding: Diagnostic, key: str) -> bool:
    """Tells whether a finding warns of a key, under an old name too, of a part of it, or of what it is part of."""
    place = finding.place.key or ""
    of_it = any(place == name or place.startswith(f"{name}.") for name in (key, OLD_NAMES.get(key, key)))
    return finding.severity is not Severity.INFO and (of_it or key.startswith(f"{place}."))
