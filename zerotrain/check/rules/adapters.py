"""ZT7: adapters, their checkpoints and exports; and dropout."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.arch.describe import dropout_keys, linear_layers, parameter_shapes
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.adapters import OUTPUT, adaptable, head_of, modules_of, target_problem, unmatched_modules
from zerotrain.compile.resolve import written_keys
from zerotrain.diagnostic import Diagnostic

_EXPORTING = "exporting a run"


@rule("ZT740", "unmatched-module")
def unmatched_module(case: Case) -> Iterator[Diagnostic]:
    """A name in `model.adapter` is not the end of the name of any module that could be meant.

    Why: the adapter would be smaller than it was meant to be, without a word. `target_modules` names linear layers;
    `modules_to_save` names modules of any kind.
    Wrong: `model: {pretrained: ./gpt2, adapter: {type: lora, target_modules: [q_proj, v_proj]}}`
    Right: `model: {pretrained: ./gpt2, adapter: {type: lora, target_modules: [c_attn]}}`
    """
    adapter, shapes = case.spec.model.adapter, _shapes(case)
    if adapter is not None and shapes is not None:
        yield from unmatched_modules(adapter, _linear(case), modules_of(shapes))


@rule("ZT741", "nothing-to-adapt")
def nothing_to_adapt(case: Case) -> Iterator[Diagnostic]:
    """No linear layer of the model can have an adapter.

    Why: an adapter is put into linear layers; convolutions have none, and a module that is trained whole needs none.
    Wrong: `model: {pretrained: ./resnet, adapter: {type: lora}}`
    Right: `model: {pretrained: ./resnet}`
    """
    adapter, shapes = case.spec.model.adapter, _shapes(case)
    if adapter is None or shapes is None or case.shape is None:
        return
    linear, modules = _linear(case), modules_of(shapes)
    if not unmatched_modules(adapter, linear, modules):
        yield from target_problem(adapter, linear, modules, head_of(shapes, case.shape.head), OUTPUT)


@rule("ZT742", "adapter-from-scratch")
def adapter_from_scratch(case: Case) -> Iterator[Diagnostic]:
    """An adapter is trained beside random weights.

    Why: an adapter changes what a model has learned by a little; a model that has learned nothing stays that way.
    Wrong: `model: {architecture: llama, adapter: {type: lora}}`
    Right: `model: {pretrained: ./weights, adapter: {type: lora}}`
    """
    model = case.spec.model
    if model.adapter is not None and model.pretrained is None:
        message = "the adapter is trained beside random weights that never move"
        yield case.warning("model.adapter", message, help="name weights to start from: `pretrained: ./weights`")


@rule("ZT743", "baseless-adapter")
def baseless_adapter(case: Case) -> Iterator[Diagnostic]:
    """An adapter of a model from scratch is to be exported alone.

    Why: an adapter is used beside the weights it was trained with, and random ones are in no folder.
    Wrong: `{model: {architecture: llama, adapter: {type: lora}}, export: {adapter: alone}}`
    Right: `{model: {pretrained: ./weights, adapter: {type: lora}}, export: {adapter: alone}}`
    """
    model, export = case.spec.model, case.spec.export
    if export and export.adapter == "alone" and model.adapter is not None and model.pretrained is None:
        message = "the adapter is trained beside random weights, which are nowhere but in this run"
        yield case.error("export.adapter", message, help="export it `merged`, or start from `model.pretrained`")


@rule("ZT744", "no-adapter")
def no_adapter(case: Case) -> Iterator[Diagnostic]:
    """It is said how an adapter is exported, but there is none.

    Why: all weights are trained and exported, and the key has no effect. `zerotrain export --adapter` is refused for
    such a run.
    Wrong: `{model: {pretrained: ./weights}, export: {adapter: alone}}`
    Right: `{model: {pretrained: ./weights, adapter: {type: lora}}, export: {adapter: alone}}`
    """
    is_written = "export.adapter" in set(written_keys(case.spec))
    if is_written and case.spec.model.adapter is None:
        message = "the run trains all weights: it has no adapter to export"
        yield case.warning("export.adapter", message, help="remove it, or add `model.adapter`")


@reported_by("resuming or exporting a run", "ZT745", "changed-base")
def changed_base() -> None:
    """The weights an adapter was trained beside are no longer the same.

    Why: checkpoints of an adapter leave the frozen weights out and take them from `model.pretrained` again. Beside
    other weights the adapter is worth nothing, so a checksum of them stands in the manifest.
    Wrong: an export written anew into the folder a run with an adapter had started from
    Right: a folder of its own for every export
    """


@reported_by(_EXPORTING, "ZT746", "tied-module")
def tied_module() -> None:
    """A module that was trained whole beside an adapter shares its weights with another one.

    Why: peft keeps such a module under one of its names, and would load the other one as it was before training.
    Wrong: `zerotrain export --adapter alone` after `modules_to_save: [embed_tokens]` with `tie_word_embeddings: true`
    Right: `zerotrain export --adapter merged`
    """


@rule("ZT747", "no-dropout")
def no_dropout(case: Case) -> Iterator[Diagnostic]:
    """`model.dropout` is given, but the architecture has no dropout that is known.

    Why: the key would have no effect.
    Wrong: `model: {architecture: resnet, dropout: 0.1}`
    Right: `model: {architecture: resnet}`
    """
    if case.spec.model.dropout is None:
        return
    if case.shape is None:
        message = "the dropout keys of this architecture are not known, so `model.dropout` would set none"
        yield case.error("model.dropout", message, help="name the keys in `model.config`, such as `attention_dropout`")
    elif not dropout_keys(case.shape.architecture):
        message = f"`{case.shape.architecture}` has no dropout"
        yield case.error("model.dropout", message, help="remove it")


def _shapes(case: Case) -> dict[str, tuple[int, ...]] | None:
    """Returns the parameters of the model, or None when only the built model knows them."""
    architecture, config = case.model
    if case.shape is None or architecture is None:
        return None
    return parameter_shapes(architecture, config, case.shape.head)


def _linear(case: Case) -> list[str]:
    architecture, config = case.model
    assert architecture is not None and case.shape is not None, "asked only for a known model"
    head = case.shape.head
    return adaptable(linear_layers(architecture, config, head), parameter_shapes(architecture, config, head))


RULES: tuple[Rule, ...] = (
    unmatched_module,
    nothing_to_adapt,
    adapter_from_scratch,
    baseless_adapter,
    no_adapter,
    changed_base,
    tied_module,
    no_dropout,
)
