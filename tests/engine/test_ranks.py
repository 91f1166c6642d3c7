"""The place of a process among the others, as each launcher tells it."""

from __future__ import annotations

from zerotrain.engine.ranks import Ranks, read_ranks


def test_a_process_started_alone_is_the_only_rank():
    environment: dict[str, str] = {}

    assert read_ranks(environment) == Ranks(0, 0, 1, 1)
    assert environment["LOCAL_RANK"] == "0"
    assert environment["MASTER_ADDR"] == "127.0.0.1"
    assert int(environment["MASTER_PORT"]) > 0


def test_torchrun_names_the_local_world_size_which_deepspeed_reads_under_another_name():
    environment = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_PORT": "1"}

    assert read_ranks(environment) == Ranks(5, 1, 8, 4)
    assert environment["LOCAL_SIZE"] == "4"


def test_the_deepspeed_launcher_names_the_local_size():
    environment = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_SIZE": "4", "MASTER_PORT": "1"}

    assert read_ranks(environment) == Ranks(5, 1, 8, 4)
    assert not read_ranks(environment).is_first
