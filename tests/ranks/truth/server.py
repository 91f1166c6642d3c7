"""Runs DeepSpeed configs for real: imports the libraries once, then forks the ranks of each case.

Reads one JSON object per line: {"config", "model", "ranks", "seconds"}; answers with {"verdict", "stage", "error",
"message", "in_force"} when all ranks have ended. Not a test: `oracle.py` starts it.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

# The libraries print as they are imported; answers go where nothing else does.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TORCH_COMPILE_DISABLE"] = "1"  # compiling Muon's update for each new shape takes up to a minute
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

from zerotrain.hardware.builds import CHOSEN, build_root  # noqa: E402

os.environ[CHOSEN] = str(build_root())

import deepspeed  # noqa: E402
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: E402
import torch  # noqa: E402
from deepspeed.accelerator import get_accelerator  # noqa: E402
from deepspeed.ops.adam import DeepSpeedCPUAdam  # noqa: E402
from models import MODELS, TOKENS, VOCABULARY, groups_with_experts, trained  # noqa: E402

STEPS, MOST_MICRO_STEPS, MOST_ROWS = 2, 32, 64
GRACE = 8.0
"""Seconds the other ranks have after one has ended: none ends well before all have met at the last barrier."""
OPS = ("ShareMemCommBuilder", "FusedAdamBuilder", "CPUAdamBuilder", "CPUAdagradBuilder", "CPULionBuilder")


def main() -> None:
    torch.set_num_threads(1)
    for build in MODELS.values():
        build()  # loads what it needs
    for builder in OPS:
        get_accelerator().create_op_builder(builder).load()
    answer({"ready": deepspeed.__version__})
    for line in sys.stdin:
        answer(run_case(**json.loads(line)))


def run_case(config: dict[str, Any], model: str, ranks: int, seconds: float) -> dict[str, Any]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="truth-") as directory:
        children = [fork_rank(config, model, rank, ranks, port, Path(directory)) for rank in range(ranks)]
        late = wait(children, seconds)
        for left in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_*_127.0.0.1_{port}*"):
            left.unlink(missing_ok=True)
        return verdict([read(Path(directory, f"result-{rank}.json")) for rank in range(ranks)], late)


def verdict(results: list[dict[str, Any]], late: bool) -> dict[str, Any]:
    """Returns what came of a case: the first failure of any rank, or what rank 0 found in force."""
    failed = [result for result in results if result.get("error")]
    if failed:
        return {"verdict": "refused", **min(failed, key=lambda result: result["time"])}
    unfinished = [result for result in results if result.get("stage") != "done"]
    if unfinished:
        return {"verdict": "hangs" if late else "refused", **unfinished[0], "error": "killed" if late else "crashed"}
    return {"verdict": "works", **results[0]}


def fork_rank(config: dict[str, Any], model: str, rank: int, ranks: int, port: int, directory: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        output = os.open(directory / f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(directory)
        local = {"LOCAL_RANK": str(rank), "LOCAL_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CROSS_RANK": "0", "CROSS_SIZE": "1"}
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), **local, **meeting)
        Rank(directory, rank).run(config, model)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class Rank:
    """One rank of a case, which writes down how far it has come."""

    def __init__(self, directory: Path, rank: int) -> None:
        self._file = directory / f"result-{rank}.json"
        self._checkpoint = str(directory / "checkpoint")
        self._result: dict[str, Any] = {}

    def run(self, config: dict[str, Any], model: str) -> None:
        try:
            self._train(config, model)
        except BaseException as error:  # an assertion, a Warning that is raised, a SystemExit: all are refusals
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            stage = "parse" if in_parser(error) else self._result["stage"]
            traceback.print_exc()
            self._note(stage=stage, error=type(error).__name__, message=" ".join(lines[:3])[:300], time=time.time())

    def _train(self, config: dict[str, Any], model: str) -> None:
        self._note(stage="meet")
        deepspeed.init_distributed("gloo", verbose=False)
        self._note(stage="initialize")
        engine = start(config, model)
        self._note(stage="step", in_force=in_force(engine))
        take_steps(engine)
        self._note(stage="save")
        engine.save_checkpoint(self._checkpoint)
        self._note(stage="load")
        loaded, _ = engine.load_checkpoint(self._checkpoint)
        assert loaded is not None, "the checkpoint was not found"
        torch.distributed.barrier()
        self._note(stage="done")

    def _note(self, **facts: Any) -> None:
        self._result |= facts
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(self._result))
        draft.replace(self._file)


def start(config: dict[str, Any], name: str) -> Any:
    """Returns the engine as a script would make it that does its part: an optimizer only where the config has none."""
    torch.manual_seed(0)
    model = MODELS[name]()
    parameters = trained(model)
    own = {} if has_optimizer(config) else {"optimizer": own_optimizer(config, own_groups(config, name, model))}
    return deepspeed.initialize(
        model=model,
        model_parameters=None if own else parameters,
        config=copy.deepcopy(config),
        **own,
    )[0]


def has_optimizer(config: dict[str, Any]) -> bool:
    section = config.get("optimizer")
    return section is not None and not (isinstance(section, dict) and section.get("type") is None)


def own_groups(config: dict[str, Any], name: str, model: torch.nn.Module) -> list[Any]:
    section = config.get("expert_parallel")
    if name != "mixtral" or not isinstance(section, dict) or section.get("enabled") is not True:
        return trained(model)
    return groups_with_experts(model, section.get("autoep_size", 1))


def own_optimizer(config: dict[str, Any], parameters: list[Any]) -> torch.optim.Optimizer:
    zero = config.get("zero_optimization")
    offload = zero.get("offload_optimizer") if isinstance(zero, dict) else None
    device = offload.get("device") if isinstance(offload, dict) else None
    offloaded = device in ("cpu", "nvme") or (isinstance(zero, dict) and zero.get("cpu_offload") is True)
    return (DeepSpeedCPUAdam if offloaded else torch.optim.AdamW)(parameters, lr=1e-3)


def take_steps(engine: Any) -> None:
    rows = min(int(engine.train_micro_batch_size_per_gpu()), MOST_ROWS)
    torch.manual_seed(0)  # the ranks that share a layer must see the same tokens
    for _ in range(MOST_MICRO_STEPS):
        tokens = torch.randint(VOCABULARY, (rows, TOKENS))
        engine.backward(engine(input_ids=tokens, labels=tokens).loss)
        engine.step()
        if engine.global_steps >= STEPS:
            break


def in_force(engine: Any) -> dict[str, Any]:
    """Returns what the engine goes by, in the words of a config."""
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    optimizer = engine.optimizer
    offloads = getattr(optimizer, "cpu_offload", False) or getattr(optimizer, "offload_optimizer", False)
    return {
        "stage": engine.zero_optimization_stage(),
        "precision": names.get(next(engine.module.parameters()).dtype),
        "train_batch_size": engine.train_batch_size(),
        "train_micro_batch_size_per_gpu": engine.train_micro_batch_size_per_gpu(),
        "gradient_accumulation_steps": engine.gradient_accumulation_steps(),
        "gradient_clipping": engine.gradient_clipping(),
        "offloads_optimizer": bool(offloads),
        "grad_accum_dtype": names.get(engine.get_data_types()[1]),
    }


def in_parser(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.endswith("runtime/config.py") and frame.name == "__init__" for frame in frames)


def wait(children: list[int], seconds: float) -> bool:
    """Waits for all ranks, a little while only once one has ended, and tells whether time ran out on all of them."""
    running, deadline = set(children), time.monotonic() + seconds
    while running and time.monotonic() < deadline:
        ended = {child for child in running if os.waitpid(child, os.WNOHANG)[0]}
        if ended:
            deadline = min(deadline, time.monotonic() + GRACE)
        running -= ended
        time.sleep(0.005)
    for child in running:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return len(running) == len(children)


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answer(content: dict[str, Any]) -> None:
    ANSWERS.write(json.dumps(content) + "\n")
    ANSWERS.flush()


if __name__ == "__main__":
    main()
