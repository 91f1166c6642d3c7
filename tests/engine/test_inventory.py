"""What torch and DeepSpeed say of this machine."""

from __future__ import annotations

import torch
from deepspeed.accelerator import get_accelerator

from zerotrain.engine.inventory import inventory


def test_an_op_is_what_its_builder_says_it_is():
    found = inventory(["CPUAdamBuilder", "AsyncIOBuilder"])
    adam, aio = found["ops"]

    assert (found["version"], found["devices"]) == (torch.__version__, torch.cuda.device_count())
    assert found["accelerator"] == get_accelerator().device_name()
    assert (adam["name"], adam["problem"]) == ("cpu_adam", None)
    can_aio = get_accelerator().create_op_builder("AsyncIOBuilder").is_compatible(verbose=False)
    assert (aio["problem"] is None) == (aio["built"] or can_aio)


def test_a_build_directory_that_cannot_be_made_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "file"))
    (op,) = inventory(["CPUAdamBuilder"])["ops"]

    assert (op["built"], op["directory"]) == (False, None)
    assert op["problem"]
