"""An export that is not the model is seen."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.checkpoint.verify import Entry, entries_of, expected_entries, export_problems

EXPECTED = {"a": Entry((2, 3), "F32", 24), "b": Entry((4,), "BF16", 8)}


def written(directory, **tensors):
    save_file(tensors, directory / "model.safetensors")
    return directory


def test_a_whole_export_has_no_problem(tmp_path):
    written(tmp_path, a=torch.ones(2, 3), b=torch.ones(4, dtype=torch.bfloat16))

    assert export_problems(tmp_path, EXPECTED) == []


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"a": torch.ones(2, 3)}, "`b` is missing"),
        ({"a": torch.ones(2, 3), "b": torch.ones(4)}, "`b` is F32 [4] of 16 bytes, expected BF16 [4] of 8 bytes"),
        ({"a": torch.ones(0), "b": torch.ones(4, dtype=torch.bfloat16)}, "`a` is F32 [0] of 0 bytes"),
        (
            {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.ones(1)},
            "`c` does not belong to the model",
        ),
    ],
)
def test_what_is_missing_other_empty_or_too_much_is_named(tmp_path, tensors, problem):
    written(tmp_path, **tensors)

    assert any(problem in found for found in export_problems(tmp_path, EXPECTED))


def test_a_file_that_was_cut_is_seen(tmp_path):
    file = written(tmp_path, a=torch.ones(2, 3), b=torch.ones(4, dtype=torch.bfloat16)) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    (problem,) = export_problems(tmp_path, EXPECTED)
    assert "its header says" in problem


def test_no_file_at_all_is_every_tensor_missing(tmp_path):
    assert export_problems(tmp_path, EXPECTED) == ["`a` is missing", "`b` is missing"]


def test_expected_names_of_experts_are_those_of_published_weights():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = AutoConfig.for_model("mixtral", **sizes, num_key_value_heads=2, num_local_experts=2, vocab_size=99)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)

    expected = expected_entries(model, torch.bfloat16)

    assert expected["model.layers.0.block_sparse_moe.experts.1.w1.weight"] == Entry((64, 32), "BF16", 4096)


def test_several_files_are_read_as_one(tmp_path):
    save_file({"a": torch.ones(2, 3)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(4, dtype=torch.bfloat16)}, tmp_path / "model-00002-of-00002.safetensors")

    assert entries_of(tmp_path) == EXPECTED
