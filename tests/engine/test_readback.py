"""What the engine uses is what was compiled, and a difference is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

ENGINE = """
import copy, json
import deepspeed, torch
from zerotrain.compile.sections.groups import Group
from zerotrain.engine.readback import differences, refuse_differences
from zerotrain.engine.recorder import RecordingDict
from zerotrain.errors import EngineError

GIVEN = {
    "train_batch_size": 4, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2,
    "gradient_clipping": 1.0, "gradient_allreduce_op": "mean", "prescale_gradients": False,
    "bf16": {"enabled": True, "check_grad_overflow": True}, "fp16": {"enabled": False},
    "data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32",
    "zero_optimization": {"stage": 2, "reduce_bucket_size": 1000000, "allgather_bucket_size": 1000000},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1,
                  "bias_correction": True, "adam_w_mode": True}},
}

GROUPS = [Group("group0", ("weight",), None, 0.1), Group("group1", ("bias",), 2e-4, 0.0)]

def engine(config):
    model = torch.nn.Linear(4, 4)
    groups = [{"params": [model.weight], "name": "group0"}]
    groups += [{"params": [model.bias], "name": "group1", "lr": 2e-4, "weight_decay": 0.0}]
    built, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    return built

def changed(path, value):
    config = copy.deepcopy(GIVEN)
    *sections, last = path.split("/")
    section = config
    for name in sections:
        section = section[name]
    section[last] = value
    return config
"""

CHANGES: dict[str, Any] = {
    "train_batch_size": 8,
    "train_micro_batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 0.5,
    "gradient_allreduce_op": "sum",
    "prescale_gradients": True,
    "bf16/enabled": False,
    "bf16/check_grad_overflow": False,
    "fp16/enabled": True,
    "data_types/grad_accum_dtype": "bf16",
    "communication_data_type": "bf16",
    "zero_optimization/stage": 1,
    "zero_optimization/reduce_bucket_size": 2,
    "optimizer/type": "Adagrad",
    "optimizer/params/lr": 2e-3,
    "optimizer/params/betas": [0.9, 0.99],
    "optimizer/params/eps": 1e-6,
    "optimizer/params/bias_correction": False,
    "optimizer/params/adam_w_mode": False,
}


@pytest.fixture(scope="module")
def seen(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The keys reported as different, for every single value that is not what the engine was built with."""
    code = f"{ENGINE}\nbuilt = engine(copy.deepcopy(GIVEN))\nchanges = json.loads({json.dumps(CHANGES)!r})\n"
    code += (
        "found = {path: [d[0] for d in differences(built, changed(path, v), GROUPS)] for path, v in changes.items()}\n"
    )
    code += "found['as given'] = [d[0] for d in differences(built, GIVEN, GROUPS)]\nprint('FOUND', json.dumps(found))"
    output = ranks.script(tmp_path_factory.mktemp("engine"), code)
    return json.loads(next(line for line in output.splitlines() if line.startswith("FOUND"))[6:])


def test_an_engine_that_uses_what_was_given_has_no_difference(seen):
    assert seen["as given"] == []


@pytest.mark.parametrize("path", CHANGES)
def test_every_value_that_touches_convergence_is_read_back(seen, path):
    assert path.replace("/", ".") in seen[path]


def test_modules_that_stage_3_gathers_as_one_are_looked_for_in_the_model(ranks, tmp_path):
    output = ranks.script(
        tmp_path,
        ENGINE
        + """
given = changed("zero_optimization", {"stage": 3, "leaf_module": {"classes": ["torch.nn.modules.linear.Linear"]}})
built = engine(copy.deepcopy(given))
def found(): return [d for d in differences(built, given, GROUPS) if "leaf" in d[0]]
print("GATHERED", found())
built.module._z3_leaf = False
print("NOT GATHERED", found())
""",
    )

    assert "\nGATHERED []" in output
    key = "zero_optimization.leaf_module.classes"
    assert f"NOT GATHERED [('{key}', ['torch.nn.modules.linear.Linear'], [])]" in output


def test_all_differences_and_unread_keys_are_told_at_once(ranks, tmp_path):
    output = ranks.script(
        tmp_path,
        ENGINE
        + """
recorder = RecordingDict(changed("wall_clock_brakdown", True))
built = engine(recorder)
dict.__setitem__(recorder, "gradient_clipping", 7.0)
try:
    refuse_differences(built, recorder, GROUPS)
except EngineError as refused:
    print(refused)
""",
    )

    assert "ZT803 engine-differs: `gradient_clipping` was compiled as 7.0, but the engine uses 1.0" in output
    assert "ZT804 unread-key: DeepSpeed never looked at `wall_clock_brakdown`" in output
