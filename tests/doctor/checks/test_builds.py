"""What is compiled, and locks that builds have left."""

from __future__ import annotations

from dataclasses import replace

from tests.doctor.conftest import MACHINE, Judge, cpu_need, with_parts
from zerotrain.doctor.checks.builds import QUIET_SECONDS, impossible_op, left_lock, no_compiler, no_toolkit
from zerotrain.doctor.machine import Lock, Machine, Op
from zerotrain.doctor.need import Need

UNBUILT = Op("fused_adam", "/ops", built=False, problem=None)


def with_lock(*, held: bool, quiet: float) -> Machine:
    return with_parts(builds={"locks": (Lock("/ops/fused_adam/lock", held, quiet),)})


def test_zt801_tools_are_asked_for_when_something_is_to_be_built(judge: Judge) -> None:
    bare = replace(MACHINE, builds=replace(MACHINE.builds, compiler=None, ninja=None))
    waiting = with_parts(builds={"compiler": None}, torch={"ops": (UNBUILT,)})

    assert judge(no_compiler, bare, cpu_need(spec=object())) == []
    assert "no `g++` and no `ninja`" in judge(no_compiler, bare, Need())[0].message
    assert [finding.code for finding in judge(no_compiler, waiting, cpu_need(spec=object()))] == ["ZT801"]
    assert judge(no_compiler, MACHINE, Need()) == []


def test_zt852_an_op_that_deepspeed_cannot_build(judge: Judge) -> None:
    refused = Op("async_io", "/ops", built=False, problem="no libaio")
    (finding,) = judge(impossible_op, with_parts(torch={"ops": (refused,)}))

    assert (finding.code, finding.message) == ("ZT852", "DeepSpeed cannot build `async_io`: no libaio")
    assert finding.help is not None
    assert "libaio-dev" in finding.help
    assert judge(impossible_op, with_parts(torch={"ops": (UNBUILT,)})) == []


def test_zt853_a_compiler_of_another_cuda_version(judge: Judge) -> None:
    other = with_parts(torch={"ops": (UNBUILT,), "toolkit": "12.4", "toolkit_problem": "does not match"})
    none = with_parts(torch={"ops": (UNBUILT,), "toolkit": None, "toolkit_problem": "CUDA_HOME does not exist"})

    assert (
        "must be compiled with CUDA 13.0, as torch was, and nvcc is of CUDA 12.4" in judge(no_toolkit, other)[0].message
    )
    assert "there is no nvcc" in judge(no_toolkit, none)[0].message
    assert judge(no_toolkit, with_parts(torch={"ops": (UNBUILT,)})) == []


def test_zt853_is_not_said_when_nothing_is_to_be_built_or_no_gpu_is_used(judge: Judge) -> None:
    none = with_parts(torch={"toolkit": None, "toolkit_problem": "CUDA_HOME does not exist"})
    unbuilt = with_parts(torch={"ops": (UNBUILT,), "toolkit": None})

    assert judge(no_toolkit, none) == []
    assert judge(no_toolkit, unbuilt, cpu_need()) == []


def test_zt852_and_zt853_are_not_both_said_of_one_cause(judge: Judge) -> None:
    op = Op("fused_adam", "/ops", built=False, problem="CUDA_HOME does not exist")
    machine = with_parts(torch={"ops": (op,), "toolkit": None, "toolkit_problem": "CUDA_HOME does not exist"})

    assert [len(judge(verdict, machine)) for verdict in (impossible_op, no_toolkit)] == [0, 1]


def test_zt854_a_lock_that_nothing_holds_and_nothing_moves_is_left_over(judge: Judge) -> None:
    (finding,) = judge(left_lock, with_lock(held=False, quiet=QUIET_SECONDS))

    assert (finding.code, finding.help) == ("ZT854", "rm /ops/fused_adam/lock")
    assert "is left over" in finding.message


def test_zt854_a_lock_beside_recent_files_may_be_another_machine_s(judge: Judge) -> None:
    (finding,) = judge(left_lock, with_lock(held=False, quiet=QUIET_SECONDS - 1))

    assert "is left over" not in finding.message
    assert finding.help == "unless another machine or container builds there: rm /ops/fused_adam/lock"


def test_zt854_the_lock_of_a_build_that_goes_on_is_never_reported(judge: Judge) -> None:
    assert judge(left_lock, with_lock(held=True, quiet=0)) == []
    assert judge(left_lock, with_lock(held=True, quiet=10 * QUIET_SECONDS)) == []
    assert judge(left_lock) == []
