"""DeepSpeed configs: parallel axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig

from zerotrain.diagnostic import Diagnostic, Severity

Lint = Callable[..., list[Diagnostic]]

ERROR, WARNING = Severity.ERROR, Severity.WARNING


def only(findings: list[Diagnostic], code: str) -> list[tuple[Severity, str | None]]:
    return [(finding.severity, finding.place.key) for finding in findings if finding.code == code]


def tensor(size: Any = 2, **more: Any) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": 1, "tensor_parallel": {"autotp_size": size, **more}}


@pytest.mark.parametrize(("size", "world"), [(3, 8), (16, 8), (2, 1)])
def test_zt420_tensor_ranks_that_do_not_divide(lint: Lint, size: int, world: int) -> None:
    assert only(lint(tensor(size), world_size=world), "ZT420") == [(ERROR, "tensor_parallel.autotp_size")]


@pytest.mark.parametrize(("size", "world"), [(4, 8), (0, 7), (-1, 7), (3, None), ("3", 8), (None, 8), (True, 8)])
def test_zt420_sizes_that_divide_or_say_nothing(lint: Lint, size: Any, world: int | None) -> None:
    assert only(lint(tensor(size), world_size=world), "ZT420") == []


def test_zt421_a_size_that_is_text(lint: Lint) -> None:
    assert only(lint(tensor("auto")), "ZT421") == [(ERROR, "tensor_parallel.autotp_size")]
    assert only(lint(tensor(2)), "ZT421") == []
    assert only(lint(tensor("auto"), deepspeed="0.17.6"), "ZT421") == []
    DeepSpeedConfig(tensor("auto"))  # only `deepspeed.initialize` refuses it


def test_zt422_a_negative_size(lint: Lint) -> None:
    assert only(lint(tensor(-1)), "ZT422") == [(WARNING, "tensor_parallel.autotp_size")]
    assert only(lint(tensor(0)), "ZT422") == []
    assert DeepSpeedConfig(tensor(-1)).tensor_parallel_config.autotp_size == -1


def test_zt423_two_sizes_that_differ(lint: Lint) -> None:
    assert only(lint(tensor(2, tp={"tp_size": 4})), "ZT423") == [(ERROR, "tensor_parallel.tp.tp_size")]
    other_name = lint(tensor(2, tensor_parallel={"tp_size": 4}))
    assert only(other_name, "ZT423") == [(ERROR, "tensor_parallel.tensor_parallel.tp_size")]
    for same in (1, 2):
        assert only(lint(tensor(2, tp={"tp_size": same})), "ZT423") == []


@pytest.mark.parametrize("size", [0, 1])
def test_zt424_tensor_parallelism_that_is_described_only(lint: Lint, size: int) -> None:
    assert only(lint(tensor(size, tp={"tp_size": 4})), "ZT424") == [(WARNING, "tensor_parallel.tp.tp_size")]
    assert only(lint(tensor(size, preset_model="llama")), "ZT424") == [(WARNING, "tensor_parallel.preset_model")]
    assert only(lint(tensor(size)), "ZT424") == []


def test_zt424_a_script_may_set_the_size(lint: Lint) -> None:
    (finding,) = [each for each in lint({"tensor_parallel": {"tp": {"tp_size": 4}}}) if each.code == "ZT424"]
    assert "tp_model_init" in (finding.help or "")
    assert only(lint(tensor(4, tp={"tp_size": 4})), "ZT424") == []


def test_zt425_a_preset_that_is_unknown(lint: Lint) -> None:
    assert only(lint(tensor(2, preset_model="llama3")), "ZT425") == [(WARNING, "tensor_parallel.preset_model")]
    assert only(lint(tensor(2, preset_model="Llama")), "ZT425") == []
    read = DeepSpeedConfig(tensor(2, preset_model="llama3")).tensor_parallel_config
    assert read.get_partition_config_object() is None


def test_zt427_a_batch_that_counts_tensor_ranks(lint: Lint) -> None:
    config = {**tensor(2), "train_batch_size": 32}
    assert only(lint(config), "ZT427") == [(WARNING, "train_batch_size")]
    assert only(lint(config, reader="hf"), "ZT427") == []
    assert only(lint(tensor(2)), "ZT427") == []
    assert only(lint({**tensor(1), "train_batch_size": 32}), "ZT427") == []


def test_zt428_a_full_triple_at_stage_3(lint: Lint) -> None:
    config = {**tensor(2), "train_batch_size": 4, "gradient_accumulation_steps": 2, "zero_optimization": {"stage": 3}}
    assert only(lint(config), "ZT428") == [(WARNING, "train_batch_size")]
    assert only(lint({**config, "zero_optimization": {"stage": 2}}), "ZT428") == []
    assert only(lint({key: config[key] for key in config if key != "train_batch_size"}), "ZT428") == []


def test_zt429_a_sequence_parallel_size_alone(lint: Lint) -> None:
    assert only(lint({"sequence_parallel_size": 2}), "ZT429") == [(WARNING, "sequence_parallel_size")]
    assert only(lint({"sequence_parallel_size": 2}, reader="hf"), "ZT429") == []
    assert only(lint({"sequence_parallel_size": 1}), "ZT429") == []
    assert only(lint({"sequence_parallel_size": 2, "data_parallel_size": 4}), "ZT429") == []


def test_zt430_a_mesh_that_is_not_the_world(lint: Lint) -> None:
    mesh = {"sequence_parallel_size": 2, "data_parallel_size": 2}
    assert only(lint(mesh, world_size=8), "ZT430") == [(ERROR, "data_parallel_size")]
    assert only(lint(mesh, world_size=3), "ZT430") == [(ERROR, "data_parallel_size")]
    assert only(lint(mesh, world_size=4), "ZT430") == []
    assert only(lint(mesh), "ZT430") == []


def test_zt431_a_communication_type_that_is_overridden(lint: Lint) -> None:
    mesh = {"sequence_parallel_size": 2, "data_parallel_size": 2, "communication_data_type": "bf16"}
    assert only(lint(mesh), "ZT431") == [(WARNING, "communication_data_type")]
    assert only(lint({**mesh, "seq_parallel_communication_data_type": "bf16"}), "ZT431") == []
    assert only(lint({"communication_data_type": "bf16"}), "ZT431") == []


def test_zt433_a_pipeline_switch_that_is_none(lint: Lint) -> None:
    assert only(lint({"pipeline": {"pipe_partitioned": "auto"}}), "ZT433") == [(ERROR, "pipeline.pipe_partitioned")]
    assert only(lint({"pipeline": {"grad_partitioned": 1}}), "ZT433") == [(ERROR, "pipeline.grad_partitioned")]
    assert only(lint({"pipeline": {"grad_partitioned": False}}), "ZT433") == []


@pytest.mark.parametrize("stage", [2, 3])
def test_zt434_a_pipeline_above_stage_1(lint: Lint, stage: int) -> None:
    config = {"pipeline": {"activation_checkpoint_interval": 1}, "zero_optimization": {"stage": stage}}
    assert only(lint(config), "ZT434") == [(WARNING, "pipeline")]
    assert only(lint({**config, "zero_optimization": {"stage": 1}}), "ZT434") == []
    assert only(lint({**config, "pipeline": {}}), "ZT434") == []


def test_zt435_a_partition_type_that_does_not_exist(lint: Lint) -> None:
    def layers(kind: str) -> dict[str, Any]:
        return {"layer_specs": [{"patterns": ["a"]}, {"patterns": ["b"], "partition_type": kind}]}

    key = "tensor_parallel.partition_config.layer_specs[1].partition_type"
    assert only(lint(tensor(2, partition_config=layers("col"))), "ZT435") == [(ERROR, key)]
    assert only(lint(tensor(2, partition_config=layers("Column"))), "ZT435") == []
    assert only(lint(tensor(1, partition_config=layers("col"))), "ZT435") == []
    assert only(lint(tensor(2, partition_config={"layer_specs": [7, None]})), "ZT435") == []
    with pytest.raises(ValueError, match="'col' is not a valid"):
        DeepSpeedConfig(tensor(2, partition_config=layers("col"))).tensor_parallel_config.get_partition_config_object()


def test_zt447_stage_3_in_old_versions(lint: Lint) -> None:
    config = {**tensor(2), "zero_optimization": {"stage": 3}}
    assert only(lint(config, deepspeed="0.18.9"), "ZT447") == [(ERROR, "tensor_parallel.autotp_size")]
    assert only(lint(config), "ZT447") == []
    assert only(lint({**config, "zero_optimization": {"stage": 2}}, deepspeed="0.18.9"), "ZT447") == []


@pytest.mark.parametrize("size", [0, -1, None, "2", [2]])
def test_zt426_a_world_divided_by_no_number(lint: Lint, size: object) -> None:
    config = {"train_micro_batch_size_per_gpu": 2, "sequence_parallel_size": size}

    assert "ZT426" in [finding.code for finding in lint(config)]


@pytest.mark.parametrize("size", ["1", "auto", 0])
def test_zt426_a_mesh_of_no_number(lint: Lint, size: object) -> None:
    config = {"train_micro_batch_size_per_gpu": 2, "sequence_parallel_size": 2, "data_parallel_size": size}

    assert "data_parallel_size" in [finding.place.key for finding in lint(config) if finding.code == "ZT426"]


@pytest.mark.parametrize("size", [1, 1.0, True])
def test_zt426_numbers_are_fine(lint: Lint, size: object) -> None:
    assert "ZT426" not in [finding.code for finding in lint({"train_batch_size": 2, "sequence_parallel_size": size})]
