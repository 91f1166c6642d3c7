"""What HF Trainer and Accelerate do to a DeepSpeed config."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from zerotrain.check.config.frameworks import (
    ACCELERATE_FILLS,
    FOREIGN_KEYS,
    HF_TRAINER_FILLS,
    TRAINING_ARGUMENTS,
    is_filled,
    kind_of_file,
)
from zerotrain.check.dsschema.schema import schema_of


def source(package: str, file: str) -> str:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / file).read_text(encoding="utf-8")


def test_all_that_hf_trainer_fills_by_its_source_is_known() -> None:
    text = source("transformers", "integrations/deepspeed.py")

    filled = set(re.findall(r'fill_(?:match|only)\(\s*"([a-z0-9_.]+)"', text))

    assert len(filled) == 17
    assert filled <= HF_TRAINER_FILLS


def test_what_accelerate_fills_is_named_in_its_source() -> None:
    text = source("accelerate", "utils/dataclasses.py") + source("accelerate", "accelerator.py")

    assert {path for path in ACCELERATE_FILLS if f'"{path}"' not in text} == set()


def filled_by_accelerate(config: dict[str, object]) -> dict[str, object]:
    from accelerate.utils import DeepSpeedPlugin

    plugin = DeepSpeedPlugin(hf_ds_config=config)
    plugin.set_mixed_precision("no")
    plugin.deepspeed_config_process(must_match=False, gradient_accumulation_steps=1, train_batch_size=1)
    return plugin.deepspeed_config


def test_accelerate_overwrites_steps_per_print_and_fills_the_stage() -> None:
    filled = filled_by_accelerate({"steps_per_print": "auto", "zero_optimization": {"stage": "auto"}})

    assert filled["steps_per_print"] == float("inf")
    assert filled["zero_optimization"] == {"stage": 2}


def test_accelerate_refuses_an_auto_it_does_not_fill() -> None:
    with pytest.raises(ValueError, match="not found in kwargs"):
        filled_by_accelerate({"zero_optimization": {"stage": 2, "allgather_bucket_size": "auto"}})


def test_accelerate_refuses_a_config_without_zero() -> None:
    with pytest.raises(ValueError, match="ZeRO optimization config"):
        filled_by_accelerate({"train_batch_size": 1})


def test_every_training_argument_is_one_of_hf_trainer() -> None:
    text = source("transformers", "training_args.py")
    of_older_versions = {"evaluation_strategy", "logging_dir", "warmup_ratio"}

    missing = {name for name in TRAINING_ARGUMENTS if not re.search(rf"^    {name}: ", text, re.MULTILINE)}

    assert missing <= of_older_versions


def test_deepspeeds_keys_for_the_keys_of_frameworks_exist() -> None:
    schema = schema_of()
    params = {
        name for table in (schema.optimizers, schema.schedulers) for kind in table.values() for name in kind.params
    }

    for keys in FOREIGN_KEYS.values():
        for path in filter(None, keys.values()):
            assert schema.key(path) is not None or path.rpartition(".")[2] in params, path


@pytest.mark.parametrize(("reader", "filled"), [("raw", False), ("hf", True), ("accelerate", True)])
def test_a_script_of_ones_own_fills_nothing(reader: str, filled: bool) -> None:
    assert is_filled(reader, "train_batch_size") is filled  # pyright: ignore[reportArgumentType]


def test_three_names_do_not_make_a_file_of_another_tool() -> None:
    names = ["num-layers", "hidden-size", "seq-length"]

    assert kind_of_file(frozenset(names)) is None
    assert kind_of_file(frozenset([*names, "pos-emb"])) == "a GPT-NeoX config"
