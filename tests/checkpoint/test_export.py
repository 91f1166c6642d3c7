"""Exports are the model, whole, and plain transformers loads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.verify import entries_of
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.errors import CheckpointError
from zerotrain.runs.catalogue import catalogue

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "mixtral": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "num_local_experts": 4},
    "qwen3_moe": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_an_export_of_every_stage_has_the_trained_weights(train, stage, precision):
    result = train({"zero.stage": stage, "precision": precision}, 2)

    exported = export_run(result.run, result.run.export)

    weights = whole_weights(catalogue(result.run)[0][0])
    loaded = AutoModelForCausalLM.from_pretrained(result.run.export, dtype="auto")
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    assert exported.dtype == precision
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {dtype}
    assert all(torch.equal(tensor, weights[name].to(dtype)) for name, tensor in loaded.state_dict().items())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_an_export_predicts_what_the_trained_model_measured(train, architecture, tied):
    """The validation loss of the loaded export is the last one that training logged."""
    model = {"architecture": architecture, "config": {**CONFIGS[architecture], "tie_word_embeddings": tied}}
    result = train({"model": model, "zero.stage": 2}, 2)

    export_run(result.run, result.run.export)

    assert loss_of(result, result.run.export) == pytest.approx(result.rows("eval")[-1]["metrics"]["loss"], rel=1e-5)


def loss_of(result: Any, directory: Path) -> float:
    from torch.nn import functional

    from zerotrain.data.batch import Batch
    from zerotrain.data.stores.packed import SampleStore
    from zerotrain.runs.record import read_record

    model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto").eval()
    store = SampleStore.open(Path(str(read_record(result.run).stores["validation"])))
    batch = Batch.of(store.batch(np.arange(5), np.arange(5), rows=5))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100).item()


@pytest.fixture(scope="module")
def trained(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    changes = {"zero.stage": 1, "horizon": "2 steps", "checkpoint.save_every": "1 steps"}
    return ranks.train(tmp_path_factory.mktemp("trained"), changes, 1)


def test_the_tokenizer_comes_along_and_the_config_knows_its_end_of_text(trained, tmp_path):
    export_run(trained.run, tmp_path / "export")

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    config = json.loads((tmp_path / "export" / "config.json").read_text())
    assert tokenizer.decode(tokenizer("def f(x):")["input_ids"]) == "def f(x):"
    assert config["eos_token_id"] == tokenizer.eos_token_id == 256


def test_another_dtype_and_an_older_checkpoint_can_be_chosen(trained, tmp_path):
    exported = export_run(trained.run, tmp_path / "export", dtype="fp16", tag="step-1")

    assert (exported.tag, exported.dtype) == ("step-1", "fp16")
    assert {entry.dtype for entry in entries_of(tmp_path / "export").values()} == {"F16"}


def test_an_export_replaces_an_older_one_and_leaves_nothing_else(trained, tmp_path):
    export_run(trained.run, tmp_path / "export")
    (tmp_path / "export" / "stale.safetensors").write_bytes(b"")

    export_run(trained.run, tmp_path / "export")

    assert not (tmp_path / "export" / "stale.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_checkpoint_that_is_not_there_is_named_with_those_that_are(trained, tmp_path):
    with pytest.raises(CheckpointError, match="no complete checkpoint `step-7`; there are `step-2`, `step-1`"):
        export_run(trained.run, tmp_path / "export", tag="step-7")

    assert not (tmp_path / "export").exists()


def test_weights_of_another_model_are_refused(trained, tmp_path):
    """A checkpoint from which a layer is missing is not exported."""
    copied = tmp_path / "tiny"
    shutil.copytree(trained.run.root, copied)
    record = json.loads((copied / "run.json").read_text())
    record["resolved"]["model"]["config"]["num_hidden_layers"] = 3
    (copied / "run.json").write_text(json.dumps(record))

    with pytest.raises(CheckpointError, match=r"ZT708 wrong-export: .*`model\.layers\.2\..*` is missing"):
        export_run(type(trained.run)(copied), tmp_path / "export")

    assert not (tmp_path / "export").exists()


def test_a_directory_that_holds_something_else_is_never_replaced(trained, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")

    with pytest.raises(CheckpointError, match="ZT712 foreign-directory"):
        export_run(trained.run, tmp_path / "thesis")

    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_the_directory_one_stands_in_can_be_named(trained, tmp_path, monkeypatch):
    (tmp_path / "export").mkdir()
    monkeypatch.chdir(tmp_path / "export")

    export_run(trained.run, Path())

    assert json.loads((tmp_path / "export" / "zerotrain.json").read_text())["checkpoint"] == "step-2"


def test_a_directory_that_cannot_be_written_is_refused(trained, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CheckpointError, match="ZT708 wrong-export: cannot write"):
        export_run(trained.run, tmp_path / "file" / "export")
