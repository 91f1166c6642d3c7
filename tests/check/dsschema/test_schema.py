"""What DeepSpeed reads is data, a file to a version."""

from __future__ import annotations

import pytest

from zerotrain.check.dsschema.schema import NEWEST, Key, schema_of, versions


def test_versions_are_in_order_and_end_with_the_newest() -> None:
    assert versions() == sorted(versions(), key=lambda version: [int(part) for part in version.split(".")])
    assert versions()[-1] == NEWEST
    assert {"0.17.6", "0.18.9"} <= set(versions())


def test_an_unknown_version_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        schema_of("0.1.0")


@pytest.mark.parametrize("version", versions())
def test_every_snapshot_loads(version: str) -> None:
    schema = schema_of(version)

    assert schema.version == version
    assert schema.sections[""].keys["zero_optimization"].section
    assert schema.sections["zero_optimization"].strict
    assert not schema.sections[""].strict
    assert "adamw" in schema.optimizers
    assert schema.schedulers["WarmupDecayLR"].required == ("total_num_steps",)


@pytest.mark.parametrize("version", versions())
def test_every_section_but_a_pattern_s_is_marked_at_its_parent(version: str) -> None:
    schema = schema_of(version)

    for path in filter(None, schema.sections):
        if not path.endswith("*"):
            key = schema.key(path)
            assert key is not None, path
            assert key.section, path


def test_an_alias_finds_its_key() -> None:
    schema = schema_of()

    assert schema.key("zero_optimization.stage3_prefetch_bucket_size") is schema.key(
        "zero_optimization.prefetch_bucket_size"
    )
    assert schema.section("tensor_parallel.tensor_parallel") == schema.section("tensor_parallel.tp")


def test_a_key_deepspeed_does_not_read_is_none() -> None:
    assert schema_of().key("zero_optimisation") is None
    assert schema_of().key("zero_optimization.stag") is None
    assert schema_of().key("nothing.here") is None


def test_only_what_differs_is_written_and_the_rest_is_the_default() -> None:
    assert schema_of().key("tensor_parallel.dtype") == Key()
    assert schema_of().key("optimizer.params") == Key(kinds=("dict", "null"))


def test_a_star_stands_for_any_one_name() -> None:
    metrics = "data_efficiency.data_sampling.curriculum_learning.curriculum_metrics"

    assert schema_of().key(f"{metrics}.seqlen.difficulty_type") is not None
    assert schema_of().key(f"{metrics}.seqlen.schedule_config.root_degree") is not None
    assert schema_of().section(metrics) is None


def test_an_older_version_differs_where_deepspeed_did() -> None:
    old, new = schema_of("0.18.9"), schema_of("0.19.8")

    assert old.section("") != new.section("")
    assert [schema.sections[""].keys["gradient_clipping"].default for schema in (old, new)] == [0.0, 1.0]
    assert "elasticity" in old.sections[""].keys
    assert "elasticity" not in new.sections[""].keys
    assert "elasticity" in new.removed
    assert not old.removed
    assert "onebitadam" in old.optimizers
    assert "onebitadam" not in new.optimizers


def test_what_is_inside_a_section_that_is_not_described_is_unknown() -> None:
    old = schema_of("0.17.6")

    assert old.sections[""].keys["compression_training"].section
    assert old.section("compression_training") is None
