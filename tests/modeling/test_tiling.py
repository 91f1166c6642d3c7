"""Long sequences in pieces: the same loss and gradients, and no activations of a whole sequence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from zerotrain.arch.tiling import TILED_HEADS, TILED_MLPS
from zerotrain.data.batch import Batch
from zerotrain.data.stores.base import IGNORED
from zerotrain.errors import EngineError
from zerotrain.modeling.tiling import tile_head, tile_mlps, tiled_head
from zerotrain.spec.task import PretrainTask
from zerotrain.tasks.base import TaskContext
from zerotrain.tasks.pretrain import Pretrain

LENGTH, VOCABULARY, INTERMEDIATE = 131, 99, 80
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": INTERMEDIATE,
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 8,
}


class Shapes(TorchDispatchMode):
    """Notes the shape of everything that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.seen |= {tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)}
        return result

    def tokens_times(self, size: int) -> int:
        """Returns the most tokens for which numbers of this size were computed at once."""
        return max((math.prod(shape[:-1]) for shape in self.seen if len(shape) > 1 and shape[-1] == size), default=0)


def model(architecture: str) -> PreTrainedModel:
    torch.manual_seed(7)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": INTERMEDIATE} if architecture == "gpt2" else SIZES
    if architecture in ("deepseek_v2", "deepseek_v3"):
        sizes = {**sizes, "num_key_value_heads": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    config = AutoConfig.for_model(architecture, **sizes, vocab_size=VOCABULARY, use_cache=False)
    for rate in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(config, rate, 0.0)
    return AutoModelForCausalLM.from_config(config).train()


def batch() -> Batch:
    ids = torch.arange(2 * LENGTH).view(2, LENGTH) % VOCABULARY
    labels = (ids * 7 + 3) % VOCABULARY
    labels[:, ::5] = IGNORED
    return Batch({"input_ids": ids, "labels": labels, "position_ids": torch.arange(LENGTH).expand(2, -1)})


def learned(trained: PreTrainedModel, smoothing: float = 0.1) -> tuple[Any, dict[str, torch.Tensor], Shapes]:
    task = Pretrain(TaskContext(PretrainTask(label_smoothing=smoothing)))
    with Shapes() as shapes:
        loss = task.loss(trained, batch())
        (loss.trained * 0.25).backward()
    return loss, {name: weight.grad for name, weight in trained.named_parameters() if weight.grad is not None}, shapes


@pytest.mark.parametrize("architecture", sorted(TILED_HEADS))
@pytest.mark.parametrize("tiles", [2, 5])
def test_pieces_have_the_loss_and_the_gradients_of_the_whole(architecture, tiles):
    whole, gradients, plain = learned(model(architecture))
    in_pieces = model(architecture)
    if architecture in TILED_MLPS:
        tile_mlps(in_pieces, tiles)
    tile_head(in_pieces, tiles)

    loss, found, shapes = learned(in_pieces)

    assert loss.total.item() == pytest.approx(whole.total.item(), rel=1e-6)
    assert loss.targets == whole.targets
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
    most = 2 * math.ceil(LENGTH / tiles)
    assert plain.tokens_times(VOCABULARY) == 2 * LENGTH > most >= shapes.tokens_times(VOCABULARY) > 0
    if architecture in TILED_MLPS:
        assert plain.tokens_times(INTERMEDIATE) == 2 * LENGTH > most >= shapes.tokens_times(INTERMEDIATE) > 0


def test_without_labels_a_tiled_head_gives_logits_and_with_them_only_once():
    plain, in_pieces = model("llama"), model("llama")
    tile_head(in_pieces, 3)
    inputs = batch()["input_ids"]
    expected = plain(input_ids=inputs).logits

    assert torch.equal(in_pieces(input_ids=inputs).logits, expected)
    learned(in_pieces)
    assert torch.equal(in_pieces(input_ids=inputs).logits, expected)


def test_an_evaluation_measures_in_pieces_too():
    plain, in_pieces = model("qwen3"), model("qwen3")
    tile_head(in_pieces, 4)
    task = Pretrain(TaskContext(PretrainTask(label_smoothing=0.1)))
    with torch.no_grad(), Shapes() as shapes:
        found, _ = task.judged(in_pieces, batch(), 0.0)
    with torch.no_grad():
        expected, _ = task.judged(plain, batch(), 0.0)

    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-6)
    assert 0 < shapes.tokens_times(VOCABULARY) <= 2 * math.ceil(LENGTH / 4)


def test_what_cannot_be_tiled_is_refused():
    with pytest.raises(EngineError, match="ZT803 engine-differs: the `mlp` of a `MixtralForCausalLM` cannot be"):
        tile_mlps(model("mixtral"), 2)
    classifier = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", num_hidden_layers=1))
    with pytest.raises(EngineError, match="ZT803 engine-differs: the `logits` of a `BertForSequenceClassification`"):
        tile_head(classifier, 2)
    assert tiled_head(classifier) is None
