"""`run.json` says what a run is, or why it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.errors import RunError
from zerotrain.runs.create import NewRun, create_run
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.run import RunSpec

Make = Callable[..., NewRun]


@pytest.fixture
def made(tmp_path: Path, new_run: Make) -> RunDirectory:
    return create_run(new_run(), tmp_path / "runs")


def test_what_was_written_reads_back(made: RunDirectory, new_run: Make) -> None:
    record, new = read_record(made), new_run()

    assert (record.name, record.steps, record.overrides) == ("tiny", 100, ["seed=7"])
    assert (record.data, record.stores, record.git) == (new.facts, new.stores, new.git)
    assert RunSpec.model_validate(record.resolved) == new.resolved.spec
    assert record.topology == {
        "num_nodes": 1,
        "gpus_per_node": 2,
        "tp": 1,
        "pp": 1,
        "sp": 1,
        "ep": 1,
        "dp": 2,
    }
    assert record.model == {"params": new.resolved.shape.parameters, "active_params": new.resolved.shape.parameters}  # type: ignore[union-attr]


def test_the_file_has_a_version_and_these_keys(made: RunDirectory) -> None:
    content = json.loads(made.record.read_text())

    assert content["version"] == 1
    assert list(content) == [
        "version",
        "name",
        "created",
        "steps",
        "topology",
        "convergence_hash",
        "execution_hash",
        "data",
        "stores",
        "versions",
        "git",
        "overrides",
        "model",
        "resolved",
    ]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(parents=True), lambda path: path.touch()])
def test_a_directory_without_a_record_is_no_run(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x")

    with pytest.raises(RunError) as refused:
        read_record(RunDirectory(tmp_path / "x"))
    (finding,) = refused.value.findings
    assert (finding.code, "no `run.json`" in finding.message) == ("ZT702", True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "data": {}}',
        '{"version": 1, "data": 5}',
        "null",
        "5",
        '"text"',
    ],
)
def test_a_damaged_record_is_a_finding(run: RunDirectory, text: str) -> None:
    run.record.write_text(text)

    with pytest.raises(RunError) as refused:
        read_record(run)
    assert [finding.code for finding in refused.value.findings] == ["ZT703"]


def test_a_record_in_another_encoding_is_a_finding(run: RunDirectory) -> None:
    run.record.write_bytes(b'{"name": "caf\xe9"}')

    with pytest.raises(RunError, match="ZT703"):
        read_record(run)


def test_a_record_with_a_key_too_many_or_too_few_is_a_finding(made: RunDirectory) -> None:
    content = json.loads(made.record.read_text())
    for changed in ({**content, "more": 1}, {key: content[key] for key in content if key != "steps"}):
        made.record.write_text(json.dumps(changed))

        with pytest.raises(RunError, match="ZT703"):
            read_record(made)


def test_a_record_of_a_later_version_is_a_finding(made: RunDirectory) -> None:
    content = json.loads(made.record.read_text())
    made.record.write_text(json.dumps({**content, "version": 2}))

    with pytest.raises(RunError, match="ZT703"):
        read_record(made)
