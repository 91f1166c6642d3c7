"""Hugging Face weights from a checkpoint, read back and compared before anyone relies on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from zerotrain.arch.counterparts import obstacles, published_config
from zerotrain.checkpoint.adapter import merged_weights, not_finite, refuse_problems, trained_model, write_adapter
from zerotrain.checkpoint.expert_layers import as_published_layers
from zerotrain.checkpoint.verify import expected_entries, export_problems
from zerotrain.checkpoint.weights import StateDict, averaged_weights, whole_weights
from zerotrain.compile.model import HEADS
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import CheckpointError, reason_of
from zerotrain.modeling.load import MODELS, model_config
from zerotrain.runs.catalogue import Checkpoint, catalogue, reading
from zerotrain.runs.exports import SIGNATURE
from zerotrain.runs.files import write_json
from zerotrain.runs.history import evaluations
from zerotrain.runs.improvement import best_checkpoint
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import RunRecord, read_record
from zerotrain.spec.data import ImageSpec
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.run import KeepBestSpec, RunSpec
from zerotrain.spec.suggest import listed
from zerotrain.units import format_count

Trained = Callable[[], StateDict]
"""Reads the weights that were trained, or their average."""

BEST = "best"
"""Tag that stands for the checkpoint with the best evaluation."""

Weights = Literal["model", "ema"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    directory: Path
    tag: str
    dtype: str
    parameters: int
    weights: Weights

    def __str__(self) -> str:
        averaged = "averaged " if self.weights == "ema" else ""
        return f"{format_count(self.parameters)} {averaged}parameters of `{self.tag}` in {self.dtype}"


def export_run(
    run: RunDirectory,
    directory: Path,
    *,
    dtype: str | None = None,
    tag: str | None = None,
    weights: str | None = None,
    adapter: str | None = None,
) -> Exported:
    """Writes weights, config and tokenizer of a run so that plain transformers loads them.

    `dtype` is `fp32`, `bf16` or `fp16`, by default the training dtype; `tag` names a checkpoint or is `best`, by
    default the newest; `weights` is `model` or `ema`, by default the average if the run has one; `adapter` is `merged`
    or `alone`, by default what the spec says. An older export in the directory is replaced. Raises CheckpointError when
    the directory holds anything else, there is no such checkpoint or average, the files cannot be written, or what was
    written is not the model.
    """
    record = read_record(run)
    spec = RunSpec.model_validate(record.resolved)
    _refuse_unpublished(spec)
    is_alone = _is_alone(spec, adapter)
    checkpoint, directory = _checkpoint(run, spec, tag), directory.absolute()
    _refuse_foreign(directory)
    chosen, kind = dtype or _training_dtype(spec), _weights(run, spec, weights)
    trained = partial(averaged_weights if kind == "ema" else whole_weights, checkpoint)
    draft = directory.with_name(f".{directory.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        write = _write_adapter if is_alone else _write_model
        with reading(checkpoint):
            parameters = write(draft, spec, checkpoint, trained, DTYPES[chosen])
        _write_inputs(draft, record, spec)
        _sign(draft, record, checkpoint, {"weights": kind, "dtype": chosen, "is_adapter": is_alone})
        shutil.rmtree(directory, ignore_errors=True)
        draft.rename(directory)
    except OSError as broken:
        raise CheckpointError(_unwritable(directory, broken)) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(directory, checkpoint.manifest.tag, chosen, parameters, kind)


def _write_inputs(directory: Path, record: RunRecord, spec: RunSpec) -> None:
    """Writes how text or images become what the model sees."""
    if record.stores["tokenizer"] is not None:
        _copy_tokenizer(Path(record.stores["tokenizer"]), directory)
    if spec.data.image is not None:
        write_json(directory / "preprocessor_config.json", preprocessor(spec.data.image))


def _refuse_foreign(directory: Path) -> None:
    """Raises CheckpointError when something is in the directory that is not an export."""
    if (directory / SIGNATURE).is_file() or not directory.is_dir() or not any(directory.iterdir()):
        return
    message = f"`{directory}` holds something that is not an export, and an export would replace it"
    raise CheckpointError(error("ZT712", "foreign-directory", message, help="give a new or an empty directory"))


def _weights(run: RunDirectory, spec: RunSpec, asked: str | None) -> Weights:
    if asked == "ema" and spec.ema is None:
        message = f"`{run.root}` has no average of the weights: it was started without `ema`"
        raise CheckpointError(error("ZT739", "no-average", message, help="export `model`", key="ema"))
    return "ema" if spec.ema is not None and asked != "model" else "model"


def _sign(directory: Path, record: RunRecord, checkpoint: Checkpoint, how: Mapping[str, Any]) -> None:
    origin = {"run": record.name, "checkpoint": checkpoint.manifest.tag, "step": checkpoint.manifest.step}
    write_json(directory / SIGNATURE, {**origin, **how, "convergence_hash": record.convergence_hash})


def _checkpoint(run: RunDirectory, spec: RunSpec, tag: str | None) -> Checkpoint:
    complete, _ = catalogue(run)
    if complete and tag == BEST:
        return _best(run, spec.checkpoint.keep_best, complete)
    chosen = next((c for c in complete if tag in (None, c.manifest.tag)), None)
    if chosen is None:
        wanted = f"no complete checkpoint `{tag}`" if tag else "no complete checkpoint"
        there = f"; there are {', '.join(f'`{c.manifest.tag}`' for c in complete)}" if complete else ""
        message = f"`{run.root}` has {wanted}{there}"
        raise CheckpointError(error("ZT705", "nothing-to-resume", message, help="train until the first checkpoint"))
    return chosen


def _best(run: RunDirectory, keep: KeepBestSpec | None, complete: Sequence[Checkpoint]) -> Checkpoint:
    best = best_checkpoint(keep, evaluations(run), complete) if keep else None
    if best is not None:
        return best
    why = f"none of its checkpoints has a finite `{keep.metric}`" if keep else "it was started without `keep_best`"
    message = f"`{run.root}` has no best checkpoint: {why}"
    help = f"name one: {listed(checkpoint.manifest.tag for checkpoint in complete)}"
    raise CheckpointError(error("ZT733", "no-best-checkpoint", message, help=help, key="checkpoint.keep_best"))


def _training_dtype(spec: RunSpec) -> str:
    return spec.precision.dtype if spec.precision.dtype in ("bf16", "fp16") else "fp32"


def _empty_model(spec: RunSpec, dtype: torch.dtype) -> PreTrainedModel:
    config = model_config(spec.model)
    if spec.moe is not None:
        config = _with_experts(config, spec.moe)
    with torch.device("meta"):
        return MODELS[HEADS[spec.task.type]].from_config(config, dtype=dtype)


def _with_experts(dense: PretrainedConfig, moe: MoeSpec) -> PretrainedConfig:
    """Returns the config of the published architecture that a dense model with experts is an instance of."""
    architecture, keys = published_config(dense.model_type, dense.to_dict(), moe)
    return AutoConfig.for_model(architecture, **keys)


def _refuse_unpublished(spec: RunSpec) -> None:
    """Raises CheckpointError when no published architecture computes what a dense model with experts does."""
    if spec.moe is None:
        return
    dense = model_config(spec.model)
    why = obstacles(dense.model_type, dense.to_dict(), spec.moe)
    if why:
        message = f"the model cannot be exported: {why[0]}"
        help = "its checkpoints hold the weights, and `zerotrain resume` goes on from them"
        raise CheckpointError(error("ZT487", "unexportable-experts", message, help=help, key="moe"))


def _is_alone(spec: RunSpec, asked: str | None) -> bool:
    """Returns whether the adapter is written without the rest; raises CheckpointError when there is none to write."""
    chosen = asked or (spec.export.adapter if spec.export else "merged")
    if asked is not None and spec.model.adapter is None:
        message, help = "the run has trained all weights: it has no adapter", "export it without `--adapter`"
        raise CheckpointError(error("ZT744", "no-adapter", message, help=help, key="export.adapter"))
    if chosen == "alone" and spec.model.adapter is not None and spec.model.pretrained is None:
        message = "the adapter was trained beside random weights, which are nowhere but in this run"
        raise CheckpointError(error("ZT743", "baseless-adapter", message, help="export it `merged`"))
    return chosen == "alone" and spec.model.adapter is not None


def _write_adapter(directory: Path, spec: RunSpec, checkpoint: Checkpoint, trained: Trained, dtype: torch.dtype) -> int:
    return write_adapter(directory, spec, trained_model(spec, checkpoint, trained()), dtype)


def _write_model(directory: Path, spec: RunSpec, checkpoint: Checkpoint, trained: Trained, dtype: torch.dtype) -> int:
    """Writes the whole model, reads it back, and returns the number of its parameters."""
    model = _empty_model(spec, dtype)
    if spec.moe is not None:
        weights = as_published_layers(trained())
    elif spec.model.adapter is None:
        weights = trained()
    else:
        weights = merged_weights(trained_model(spec, checkpoint, trained()))
        refuse_problems(not_finite(weights))
    _write(directory, model, weights, dtype)
    refuse_problems(export_problems(directory, expected_entries(model, dtype)))
    return model.num_parameters()


def _write(directory: Path, model: PreTrainedModel, weights: StateDict, dtype: torch.dtype) -> None:
    tied = model.all_tied_weights_keys
    # DeepSpeed's `zero_to_fp32` makes floats of whole numbers too, such as the count of batches that were normalized.
    whole = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    typed = {
        name: weight.long() if name in whole else weight.to(dtype)
        for name, weight in weights.items()
        if name not in tied
    }
    disable_progress_bar()
    model.save_pretrained(directory, state_dict=typed)


def preprocessor(image: ImageSpec) -> dict[str, Any]:
    """Returns how an image becomes what the model sees, as transformers reads it; 2 is bilinear for Pillow."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": image.channels == 3 or None,
        "do_resize": True,
        "size": {"height": image.size, "width": image.size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": image.mean * (image.channels // len(image.mean)),
        "image_std": image.std * (image.channels // len(image.std)),
    }


def _copy_tokenizer(source: Path, directory: Path) -> None:
    for file in sorted(source.iterdir()):
        if file.suffix in (".json", ".jinja") and file.name != "meta.json":
            shutil.copy2(file, directory / file.name)


def _unwritable(directory: Path, broken: OSError) -> Diagnostic:
    message = f"cannot write `{directory}`: {reason_of(broken)}"
    return error("ZT708", "wrong-export", message, help="free some space, or choose another directory")
