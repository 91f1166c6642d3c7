"""A decoder as a pipeline of DeepSpeed's: embedding, blocks, norm and head, of which a rank has its own alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from deepspeed.checkpoint.constants import UNIVERSAL_CHECKPOINT_INFO
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from deepspeed.runtime.utils import partition_balanced
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from zerotrain.compile.pipeline import PIPELINES, DecoderParts, too_many_stages, undividable
from zerotrain.diagnostic import error
from zerotrain.errors import EngineError
from zerotrain.modeling.division import divide, divided_sides
from zerotrain.modeling.initialize import initialize_weights

Hidden = tuple[torch.Tensor, torch.Tensor]
"""What layers hand on: hidden states [batch, length, width] and positions [batch, length]. DeepSpeed sends both to the
next stage, and takes gradients back for those that are not whole numbers."""

_MARK = "@"
_TIED = "embedding"


def name_in_model(name: str) -> str:
    """Returns the name that a parameter of the pipeline has in the whole model; other names as they are."""
    _, mark, place = name.partition(_MARK)
    return place.replace("/", ".") if mark else name


class Part(nn.Module):
    """A layer of the pipeline around a module of the model.

    It holds the module under its name in the whole model, so that a checkpoint tells by itself what is in it.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self._key = _MARK + name.replace(".", "/")
        self.add_module(self._key, module)

    @property
    def module(self) -> Any:
        """The module of the model."""
        return self._modules[self._key]


class Embedding(Part):
    """Token ids to hidden states."""

    def forward(self, inputs: Hidden) -> Hidden:
        """Returns the embeddings of the ids [batch, length], and the positions."""
        ids, positions = inputs
        return self.module(ids), positions


class Positions(Part):
    """Adds learned positions, and drops a share of the sum."""

    def __init__(self, name: str, module: nn.Module, dropout: nn.Module) -> None:
        super().__init__(name, module)
        self.dropout = dropout

    def forward(self, inputs: Hidden) -> Hidden:
        """Returns the sum, and the positions."""
        hidden, positions = inputs
        return self.dropout(hidden + self.module(positions)), positions


class Around(nn.Module):
    """What the blocks of a stage need besides hidden states: masks and rotations, computed once per micro-batch."""

    def __init__(self, config: Any, rotary: nn.Module | None) -> None:
        super().__init__()
        self.config, self.rotary = config, rotary
        self._positions: torch.Tensor | None = None
        self._found: dict[bool, dict[str, Any]] = {}

    def forward(self, hidden: torch.Tensor, positions: torch.Tensor, is_sliding: bool) -> dict[str, Any]:
        """Returns what a block takes by name; positions that start at 0 again hide what came before."""
        if positions is not self._positions:
            self._positions, self._found = positions, {}
        if is_sliding not in self._found:
            self._found[is_sliding] = self._compute(hidden, positions, is_sliding)
        return self._found[is_sliding]

    def _compute(self, hidden: torch.Tensor, positions: torch.Tensor, is_sliding: bool) -> dict[str, Any]:
        make_mask = create_sliding_window_causal_mask if is_sliding else create_causal_mask
        mask = make_mask(
            config=self.config, inputs_embeds=hidden, attention_mask=None, past_key_values=None, position_ids=positions
        )
        rotations = {} if self.rotary is None else {"position_embeddings": self.rotary(hidden, positions)}
        return {"attention_mask": mask, "position_ids": positions, "use_cache": False, **rotations}


class Block(Part):
    """One block of attention and MLP."""

    def __init__(self, name: str, module: nn.Module, around: Around, is_sliding: bool) -> None:
        super().__init__(name, module)
        self.around, self._is_sliding = around, is_sliding

    def forward(self, inputs: Hidden) -> Hidden:
        """Returns the hidden states behind the block, and the positions."""
        hidden, positions = inputs
        return self.module(hidden, **self.around(hidden, positions, self._is_sliding)), positions


class Norm(Part):
    """The last norm."""

    def forward(self, inputs: Hidden) -> torch.Tensor:
        """Returns the hidden states alone: the head needs no positions."""
        return self.module(inputs[0])


class Head(Part):
    """Hidden states to logits."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns logits [batch, length, vocabulary]."""
        return self.module(hidden)


class _Tied(TiedLayerSpec):
    """A layer that exists on more than one stage, whose gradients DeepSpeed adds up."""

    def __init__(self, module: Embedding, forward_fn: Any = None) -> None:
        super().__init__(_TIED, Embedding, forward_fn=forward_fn, tied_weight_attr=f"{module._key}.weight")
        self.part = module

    def build(self, log: bool = False) -> nn.Module:
        """Returns the module that is there already."""
        return self.part


class Balanced(PipelineModule):
    """A pipeline that is cut by the sizes that its layers had before they were divided over tensor-parallel ranks."""

    def __init__(self, layers: Sequence[nn.Module | LayerSpec], sizes: Sequence[int], topology: Any) -> None:
        self._sizes = list(sizes)
        super().__init__(layers, topology=topology, partition_method="parameters")

    def _count_layer_params(self) -> list[int]:
        return self._sizes


def pipeline_of(model: PreTrainedModel, seed: int, stages: int, tp: int = 1) -> PipelineModule:
    """Returns the pipeline of a decoder, balanced by parameters; all ranks must call this.

    A `model` on the meta device gets the weights it has by its seed, on each rank those of its own layers alone. Of a
    model with weights each rank keeps its own layers. With `tp` above 1 they are divided over as many neighbours.
    Raises EngineError when the model has no such parts, or too few.
    """
    _refuse_undividable(model, stages)
    layers = list(_layers(model, PIPELINES[model.config.model_type]))
    world = torch.distributed.get_world_size()
    stage = torch.distributed.get_rank() * stages // world
    sizes = [_size(layer) for layer in layers]
    bounds = partition_balanced(sizes, stages)
    own = slice(bounds[stage], bounds[stage + 1])
    _settle_weights(model, layers, own, seed)
    if tp > 1:
        divide(nn.ModuleList(_part(layer) for layer in layers[own]), model.config, tp)
    pipeline = Balanced(layers, sizes, PipeModelDataParallelTopology(stages, tp, world // (stages * tp)))
    if tp > 1:
        setattr(pipeline, UNIVERSAL_CHECKPOINT_INFO, divided_sides(model.config.model_type))
    return pipeline


def _refuse_undividable(model: PreTrainedModel, stages: int) -> None:
    """Raises EngineError for what `check` cannot see of a model on a hub."""
    wrong = undividable(model.config.model_type, stages)
    if wrong is not None:
        raise EngineError(error("ZT411", "undividable-model", wrong[0], help=wrong[1], key="parallel.pp"))
    wrong = too_many_stages(model.config.num_hidden_layers, stages)
    if wrong is not None:
        raise EngineError(error("ZT412", "too-many-stages", wrong[0], help=wrong[1], key="parallel.pp"))


def _layers(model: PreTrainedModel, parts: DecoderParts) -> Iterator[nn.Module | _Tied]:
    part = model.get_submodule
    embedding = Embedding(parts.embedding, part(parts.embedding))
    is_tied = f"{parts.head}.weight" in model.all_tied_weights_keys
    yield _Tied(embedding) if is_tied else embedding
    if parts.positions is not None and parts.dropout is not None:
        yield Positions(parts.positions, part(parts.positions), part(parts.dropout))
    around = Around(model.config, part(parts.rotary) if parts.rotary else None)
    for index, block in enumerate(part(parts.blocks).children()):
        yield Block(f"{parts.blocks}.{index}", block, around, _is_sliding(model.config, index))
    yield Norm(parts.norm, part(parts.norm))
    yield _Tied(embedding, _tied_head) if is_tied else Head(parts.head, part(parts.head))


def _tied_head(embedding: Embedding, hidden: torch.Tensor) -> torch.Tensor:
    return functional.linear(hidden, embedding.module.weight)


def _is_sliding(config: Any, index: int) -> bool:
    """Returns whether a block sees only a window: by its own kind where blocks differ, else by the model's window."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return kinds[index] == "sliding_attention"
    return getattr(config, "sliding_window", None) is not None


def _size(layer: nn.Module | LayerSpec) -> int:
    return sum(parameter.numel() for parameter in _part(layer).parameters() if parameter.requires_grad)


def _part(layer: Any) -> Part:
    return layer.part if isinstance(layer, _Tied) else layer


def _settle_weights(model: PreTrainedModel, layers: Sequence[nn.Module | _Tied], own: slice, seed: int) -> None:
    """Gives the layers of this rank their weights, and takes those of the others away."""
    held = {_part(layer) for layer in layers[own]}
    if any(parameter.is_meta for parameter in model.parameters()):
        for part in held:
            part.to_empty(device="cpu")
        rotary = PIPELINES[model.config.model_type].rotary
        within = [part.name for part in held]
        if rotary is not None and any(isinstance(part, Block) for part in held):
            within.append(rotary)
        initialize_weights(model, seed, within=within)
        return
    for part in {_part(layer) for layer in layers} - held:
        part.module.to("meta")
