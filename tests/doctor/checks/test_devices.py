"""GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.doctor.conftest import ANSWER, GIB, HOSTS, MACHINE, Judge, cpu_need, gpu_need, with_parts
from zerotrain.doctor.checks.devices import (
    CHECKS,
    busy_gpu,
    cpu_torch,
    named_devices,
    old_driver,
    other_gpu,
    sliced_gpu,
    too_few_gpus,
)
from zerotrain.doctor.machine import Device, Host, Machine
from zerotrain.spec.launch import DeepSpeedLaunch, LocalLaunch


def with_second(**changes: Any) -> Machine:
    """Returns the machine with two GPUs, the second one changed."""
    assert MACHINE.driver is not None
    first, second = MACHINE.driver.devices
    return with_parts(driver={"devices": (first, replace(second, **changes))})


class Named:
    """As much of a spec as a launcher is."""

    def __init__(self, launch: object) -> None:
        self.launch = launch


def test_zt855_a_torch_that_knows_no_gpu(judge: Judge) -> None:
    plain = with_parts(torch={"cuda": None, "version": "2.13.0+cpu"})

    assert [finding.code for finding in judge(cpu_torch, plain)] == ["ZT855"]
    assert judge(cpu_torch, plain, cpu_need()) == []
    assert judge(cpu_torch, with_parts(torch={"cuda": None, "hip": "6.4"})) == []
    assert judge(cpu_torch) == []


@pytest.mark.parametrize(("known", "codes"), [("12.9", ["ZT856"]), ("13.0", []), ("13.2", [])])
def test_zt856_a_driver_of_an_earlier_cuda(judge: Judge, known: str, codes: list[str]) -> None:
    assert [finding.code for finding in judge(old_driver, with_parts(driver={"cuda": known}))] == codes


def test_zt856_a_driver_of_the_same_major_version_is_new_enough(judge: Judge) -> None:
    machine = with_parts(driver={"cuda": "12.2"}, torch={"cuda": "12.8"})

    assert judge(old_driver, machine) == []


def test_zt857_fewer_devices_than_ranks(judge: Judge) -> None:
    hidden = replace(with_parts(torch={"devices": 1}), environment={"CUDA_VISIBLE_DEVICES": "0"})

    (finding,) = judge(too_few_gpus, hidden)
    assert (finding.code, finding.place.key) == ("ZT857", "hardware.gpus_per_node")
    assert finding.message.endswith("torch sees 1 devices, and the run is meant for 2 on each machine; "
                                    "`CUDA_VISIBLE_DEVICES` is `0`")  # fmt: skip
    assert judge(too_few_gpus) == []
    assert judge(too_few_gpus, hidden, gpu_need(ranks=1)) == []


def test_zt857_without_a_driver_says_so(judge: Judge) -> None:
    machine = replace(with_parts(torch={"devices": 0}), driver=None)

    assert "`nvidia-smi` does not answer" in judge(too_few_gpus, machine)[0].message


def test_zt858_another_gpu_than_the_spec_names(judge: Judge) -> None:
    (finding,) = judge(other_gpu, with_second(name="NVIDIA A100-SXM4-80GB"))

    assert finding.message == "the run is meant for `H100-SXM`, and this machine has `NVIDIA A100-SXM4-80GB`"
    assert judge(other_gpu) == []
    assert judge(other_gpu, with_second(name="a device of tomorrow")) == []


def test_zt859_memory_that_someone_else_has(judge: Judge) -> None:
    (finding,) = judge(busy_gpu, with_second(free=30 * GIB))

    assert finding.message == "50GiB of the 80GiB of GPU 1 are taken"
    assert judge(busy_gpu, with_second(free=79 * GIB)) == []


def test_devices_that_are_not_visible_do_not_count(judge: Judge) -> None:
    machine = replace(with_second(free=0), environment={"CUDA_VISIBLE_DEVICES": "0"})

    assert judge(busy_gpu, machine) == []
    assert judge(busy_gpu, with_second(free=0), cpu_need()) == []


def test_zt860_slices_and_several_ranks(judge: Judge) -> None:
    assert [finding.code for finding in judge(sliced_gpu, with_second(mig=True))] == ["ZT860"]
    assert judge(sliced_gpu, with_second(mig=True), gpu_need(ranks=1)) == []
    assert judge(sliced_gpu) == []


def test_zt808_devices_by_uuid_with_the_deepspeed_launcher(judge: Judge) -> None:
    machine = replace(MACHINE, environment={"CUDA_VISIBLE_DEVICES": "MIG-4d80"})
    numbered = replace(MACHINE, environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    need = gpu_need(spec=Named(DeepSpeedLaunch(type="deepspeed")))

    assert [finding.code for finding in judge(named_devices, machine, need)] == ["ZT808"]
    assert judge(named_devices, numbered, need) == []
    assert judge(named_devices, machine, gpu_need(spec=Named(LocalLaunch(type="local")))) == []


def test_a_machine_that_only_starts_the_others_needs_no_gpu(judge: Judge) -> None:
    elsewhere = replace(HOSTS, hosts=(Host("worker-1", 2, 1, replace(ANSWER, hostname="worker-1")),))
    machine = replace(with_parts(torch={"devices": 0, "cuda": None}), driver=None, hosts=elsewhere)

    assert [finding for check in CHECKS for verdict in check.verdicts for finding in judge(verdict, machine)] == []
    assert judge(cpu_torch, replace(machine, hosts=HOSTS)) != []


def test_a_device_is_named_with_its_driver() -> None:
    assert CHECKS[0].fact(MACHINE, gpu_need()) == "2 x NVIDIA H100 80GB HBM3, driver 580.1, CUDA up to 13.0"
    assert CHECKS[0].fact(MACHINE, cpu_need()) is None
    assert isinstance(MACHINE.driver and MACHINE.driver.devices[0], Device)
