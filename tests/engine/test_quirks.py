"""What DeepSpeed does to an optimizer before the first step is undone."""

from __future__ import annotations

FIRST_UPDATE = """
import deepspeed, torch
from zerotrain.engine.quirks import drop_orphaned_states, undo_dummy_step

def first_update(stage, optimizer, undo):
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 64, bias=False)
    config = {
        "train_micro_batch_size_per_gpu": 1, "bf16": {"enabled": True}, "gradient_clipping": 0.0,
        "data_types": {"grad_accum_dtype": "fp32" if stage else "bf16"}, "communication_data_type": "fp32",
        "zero_optimization": {"stage": stage}, "optimizer": optimizer, "zero_allow_untested_optimizer": True,
    }
    engine, *_ = deepspeed.initialize(model=model, model_parameters=list(model.parameters()), config=config)
    if undo:
        undo_dummy_step(engine)
        drop_orphaned_states(engine)
    before = model.weight.detach().float().clone()
    engine.backward(engine(torch.ones(1, 64, dtype=torch.bfloat16)).float().pow(2).sum())
    engine.step()
    engine.optimizer.state_dict()
    return (model.weight.detach().float() - before).norm().item()
"""


def test_adams_first_update_at_stage_0_has_the_size_it_has_at_the_other_stages(ranks, tmp_path):
    output = ranks.script(
        tmp_path,
        FIRST_UPDATE
        + """
adam = {"type": "AdamW", "params": {"lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}}
right = first_update(1, adam, undo=False)
print("RATIOS", first_update(0, adam, undo=False) / right, first_update(0, adam, undo=True) / right)
""",
    )

    left_alone, put_right = map(float, output.split("RATIOS ")[1].split()[:2])
    assert abs(left_alone - 0.746) < 0.01, "DeepSpeed no longer takes a dummy step: `undo_dummy_step` can go"
    assert abs(put_right - 1.0) < 0.01


def test_adagrads_checkpoint_can_be_saved_at_stage_1(ranks, tmp_path):
    output = ranks.script(
        tmp_path,
        FIRST_UPDATE
        + """
adagrad = {"type": "Adagrad", "params": {"lr": 0.1}}
try:
    first_update(1, adagrad, undo=False)
    print("LEFT ALONE it works")
except KeyError:
    print("LEFT ALONE it fails")
print("PUT RIGHT", first_update(1, adagrad, undo=True) > 0)
""",
    )

    assert "LEFT ALONE it fails" in output, "`drop_orphaned_states` can go"
    assert "PUT RIGHT True" in output
