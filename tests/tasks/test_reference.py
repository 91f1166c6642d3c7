"""The reference of preferences on a disk that is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCORES = """
    import os, resource
    from pathlib import Path

    import numpy as np
    import torch
    from zerotrain.data.batch import Batch
    from zerotrain.errors import CheckpointError
    from zerotrain.tasks.base import Pass, Start
    from zerotrain.tasks.reference import reference_of

    rank = int(os.environ["RANK"])
    batches = lambda: iter([Batch(sample=torch.arange(rank, 2000, 2))])
    score = lambda batch: torch.stack([batch["sample"], -batch["sample"]], 1)

    def reference(step=0):
        data, cpu = {"train": Pass(2000, batches)}, torch.device("cpu")
        return reference_of(Start(None, cpu, step, Path("reference"), "abc", data, rank == 0), score)

    # No file may be longer than this, as if there were no room for the rest of it.
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, whole[1]))
    try:
        reference()
    except CheckpointError as refused:
        print("refused:", refused)
    torch.distributed.barrier()
    print("left:", sorted(path.name for path in Path(".").glob("*reference*")))
    torch.distributed.barrier()
    resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    found = reference()["train"]
    print("same:", torch.equal(reference(step=1)["train"], found), found[1999].tolist())
"""


def test_a_full_disk_is_told_on_every_rank_and_leaves_nothing_behind(ranks: Any, tmp_path: Path) -> None:
    said = ranks.script(tmp_path, SCORES, 2)

    assert said.count("refused: ZT661 unwritten-reference: cannot write `reference`: file too large") == 2
    assert said.count("left: []") == 2
    assert said.count("same: True [1999.0, -1999.0]") == 2
