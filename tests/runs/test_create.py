"""A run directory is whole or not there, and never over another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.errors import RunError
from zerotrain.runs.create import NewRun, create_run, dump_spec, refuse_existing, set_aside
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import load_spec
from zerotrain.spec.run import RunSpec

Make = Callable[..., NewRun]
Settled = Callable[..., RunSpec]


EVERYTHING = {
    "precision": "{dtype: fp16, loss_scale: {window: 5}}",
    "zero": "{stage: 3, offload_optimizer: {device: cpu}, offload_param: {device: nvme, nvme_path: /x}}",
    "activation_checkpointing": "full",
    "schedule": "{type: cosine, warmup: 1 epoch, min_lr_ratio: 0.1}",
    "horizon": "2 epochs",
    "checkpoint": "{save_every: 1K tokens}",
    "export": '{sample: {prompts: ["def f(", "  é😀", "a\\nb", "#", "yes", "~", "null", "1.5", "", "- x", "a: b"]}}',
    "optimizer": "{type: muon, lr: 1e-7, eps: 1e-12}",
    "deepspeed": "{comms_logger: {enabled: true, prof_ops: [all_reduce]}}",
    "launch": "{type: torchrun}",
}


def test_a_run_directory_has_everything_a_worker_needs(tmp_path: Path, new_run: Make) -> None:
    new = new_run()
    run = create_run(new, tmp_path / "runs")

    assert run == RunDirectory(tmp_path / "runs" / "tiny")
    assert sorted(path.name for path in run.root.iterdir()) == [
        "checkpoints",
        "ds_config.json",
        "logs",
        "resolved.yaml",
        "run.json",
        "spec.yaml",
    ]
    assert run.spec.read_text() == "name: tiny  # as written\n"
    assert run.ds_config.read_text() == new.config.as_json()
    assert load_spec(run.resolved) == new.resolved.spec


def test_nothing_else_is_left_beside_it(tmp_path: Path, new_run: Make) -> None:
    create_run(new_run(), tmp_path / "runs")

    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: (root.mkdir(parents=True), (root / "run.json").touch()), "already holds a run"),
        (lambda root: root.mkdir(parents=True), "already exists"),
        (lambda root: (root.parent.mkdir(), root.touch()), "already exists"),
    ],
)
def test_a_directory_of_that_name_is_never_written_over(
    tmp_path: Path, new_run: Make, make: Callable[[Path], object], message: str
) -> None:
    root = tmp_path / "runs" / "tiny"
    make(root)
    before = sorted((tmp_path / "runs").rglob("*"))

    with pytest.raises(RunError) as refused:
        create_run(new_run(), tmp_path / "runs")
    (finding,) = refused.value.findings
    assert (finding.code, finding.place.key) == ("ZT701", "name")
    assert message in finding.message
    assert f"zerotrain resume {root}" in (finding.help or "")
    assert sorted((tmp_path / "runs").rglob("*")) == before


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path, new_run: Make) -> None:
    (tmp_path / "runs").write_text("a file where the directory should be")

    with pytest.raises(RunError) as refused:
        create_run(new_run(), tmp_path / "runs")
    assert refused.value.findings[0].code == "ZT704"
    assert [path.name for path in tmp_path.iterdir() if path.name != "written.yaml"] == ["runs"]


def test_a_name_too_long_for_the_disk_is_a_finding(tmp_path: Path, new_run: Make) -> None:
    with pytest.raises(RunError, match="ZT704"):
        create_run(new_run(), tmp_path / ("a" * 300))


def test_whatever_stops_it_no_draft_is_left(tmp_path: Path, new_run: Make) -> None:
    new = new_run()
    broken = NewRun(**{**vars(new), "spec_text": "a lone surrogate \ud800"})

    with pytest.raises(ValueError):
        create_run(broken, tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_old_run_is_set_aside_under_the_first_free_number(tmp_path: Path, new_run: Make) -> None:
    runs = tmp_path / "runs"
    aside = []
    for _ in range(3):
        run = create_run(new_run(), runs)
        aside.append(set_aside(run))

    assert aside == [runs / "tiny.1", runs / "tiny.2", runs / "tiny.3"]
    assert sorted(path.name for path in runs.iterdir()) == ["tiny.1", "tiny.2", "tiny.3"]
    assert (runs / "tiny.2" / "run.json").is_file()


def test_nothing_is_set_aside_where_nothing_is(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "tiny")
    refuse_existing(run)

    assert set_aside(run) is None


@pytest.mark.parametrize("sections", [{}, EVERYTHING], ids=["small", "everything"])
def test_a_dumped_spec_reads_back_as_the_same_spec(tmp_path: Path, settled: Settled, sections: dict[str, str]) -> None:
    spec = settled(**sections)
    (tmp_path / "resolved.yaml").write_text(dump_spec(spec), encoding="utf-8")

    assert load_spec(tmp_path / "resolved.yaml") == spec
    assert "auto" not in dump_spec(spec)


@pytest.mark.parametrize("text", ["1e5", "7e21045", "0o17", "+.5e1", "1E3"])
def test_a_text_that_looks_like_a_number_reads_back_as_text(tmp_path: Path, settled: Settled, text: str) -> None:
    spec = settled(export=f'{{sample: {{prompts: ["{text}"]}}}}')
    (tmp_path / "resolved.yaml").write_text(dump_spec(spec))

    assert load_spec(tmp_path / "resolved.yaml") == spec
