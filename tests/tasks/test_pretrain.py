"""Next-token prediction on real samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.data.batch import Batch
from zerotrain.data.prepare import prepare
from zerotrain.data.stores.base import IGNORED
from zerotrain.data.stores.packed import SampleStore
from zerotrain.spec.data import DataSpec
from zerotrain.spec.run import RunSpec
from zerotrain.spec.task import PretrainTask
from zerotrain.tasks.base import TaskContext
from zerotrain.tasks.pretrain import Pretrain
from zerotrain.tasks.table import TASKS

PRETRAIN = Pretrain(TaskContext(PretrainTask()))


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", vocab_size=257, **sizes)).eval()


def batch_of(tmp_path_factory: Any, packing: str, text: str) -> Any:
    folder = tmp_path_factory.mktemp("text")
    for number, document in enumerate(text.split("|")):
        (folder / f"{number}.txt").write_text(document)
    data = {
        "train": [{"type": "text", "path": str(folder / "*.txt")}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 16,
        "packing": packing,
        "cache": str(folder / "cache"),
    }
    store = SampleStore.open(prepare(DataSpec.model_validate(data)).train)
    every = torch.arange(len(store)).numpy()
    return Batch.of(store.batch(every, every, rows=len(store)))


def test_the_loss_is_the_sum_over_trained_tokens(model, tmp_path_factory):
    batch = batch_of(tmp_path_factory, "isolated", "hello world|a b c|zerotrain")

    with torch.no_grad():
        loss = PRETRAIN.loss(model, batch)
        logits = PRETRAIN.logits(model, batch["input_ids"], batch["position_ids"])

    trained = batch["labels"] != IGNORED
    expected = -torch.log_softmax(logits[trained], -1).gather(1, batch["labels"][trained][:, None]).sum()
    assert loss.targets == trained.sum() == len("hello world") + len("a b c") + len("zerotrain")
    torch.testing.assert_close(loss.total, expected)


def test_padding_is_never_trained(model, tmp_path_factory):
    batch = batch_of(tmp_path_factory, "none", "hi|a longer text")

    loss = PRETRAIN.loss(model, batch)

    assert loss.targets == len("hi") + len("a longer text")


def test_documents_packed_together_have_the_losses_they_have_alone(model, tmp_path_factory):
    """The sum over a pack is the sum over its documents, each in a sample of its own."""
    text = "hello|a b c|zero"

    with torch.no_grad():
        packed = PRETRAIN.loss(model, batch_of(tmp_path_factory, "isolated", text))
        alone = PRETRAIN.loss(model, batch_of(tmp_path_factory, "none", text))

    assert packed.targets == alone.targets
    torch.testing.assert_close(packed.total, alone.total, rtol=1e-5, atol=1e-5)


def test_concatenated_documents_do_see_each_other(model, tmp_path_factory):
    text = "hello wo|rld and a|ll the others"

    with torch.no_grad():
        isolated = PRETRAIN.loss(model, batch_of(tmp_path_factory, "none", text))
        stream = PRETRAIN.loss(model, batch_of(tmp_path_factory, "concat", text))

    assert not torch.isclose(isolated.total / isolated.targets, stream.total / stream.targets, rtol=1e-4)


def test_every_task_of_a_spec_is_in_the_table():
    from typing import get_args

    kinds = get_args(RunSpec.model_fields["task"].annotation)
    assert {get_args(kind.model_fields["type"].annotation)[0] for kind in kinds} == set(TASKS)
