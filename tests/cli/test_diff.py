"""`zerotrain diff`: what differs between two specs or configs, and the exit code that goes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_directory_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def two(write: Write) -> Callable[..., None]:
    """Writes the tiny spec to `a.yaml`, and the same with changes to `b.yaml`."""

    def run(**changes: object) -> None:
        write().rename("a.yaml")
        write({key.replace("__", "."): value for key, value in changes.items()}).rename("b.yaml")

    return run


def test_equal_specs_end_with_0(two: Callable[..., None], capsys: Capture) -> None:
    two()

    assert main(["diff", "a.yaml", "b.yaml"]) == 0
    assert capsys.readouterr() == ("a.yaml and b.yaml mean the same\n", "")


def test_a_value_that_is_settled_to_the_same_is_no_difference(two: Callable[..., None]) -> None:
    two(batch__gradient_accumulation_steps=1, zero={"stage": 0})

    assert main(["diff", "a.yaml", "b.yaml"]) == 0


def test_differences_are_grouped_by_what_they_act_on(two: Callable[..., None], capsys: Capture) -> None:
    two(optimizer__lr=0.02, batch__micro_batch_size=1, name="other", model__attention="eager")

    assert main(["diff", "a.yaml", "b.yaml"]) == 1
    assert capsys.readouterr().out == (
        "- a.yaml\n"
        "+ b.yaml\n"
        "\n"
        "In the spec\n"
        "  convergence: changes the loss\n"
        "    optimizer.lr: 0.01 -> 0.02\n"
        "  memory: changes what must fit\n"
        "    batch.micro_batch_size: 2 -> 1\n"
        "    batch.gradient_accumulation_steps: 1 -> 2\n"
        "  speed: changes only how fast it goes\n"
        '    model.attention: "sdpa" -> "eager"\n'
        "  logging: changes only what is written\n"
        '    name: "tiny" -> "other"\n'
        "\n"
        "In what DeepSpeed reads\n"
        "  convergence: changes the loss\n"
        "    optimizer.params.lr: 0.01 -> 0.02\n"
        "  memory: changes what must fit\n"
        "    train_micro_batch_size_per_gpu: 2 -> 1\n"
        "    gradient_accumulation_steps: 1 -> 2\n"
    )


def test_the_json_says_the_same(two: Callable[..., None], capsys: Capture) -> None:
    two(optimizer__lr=0.02)

    assert main(["diff", "a.yaml", "b.yaml", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "equal": False,
        "spec": [{"key": "optimizer.lr", "touches": "convergence", "a": 0.01, "b": 0.02}],
        "deepspeed": [{"key": "optimizer.params.lr", "touches": "convergence", "a": 0.01, "b": 0.02}],
    }


def test_a_default_that_is_written_out_is_no_difference() -> None:
    Path("a.json").write_text('{"train_batch_size": 8}')
    Path("b.json").write_text('{"train_batch_size": 8, "gradient_clipping": 1.0, "zero_optimization": {"stage": 0}}')

    assert main(["diff", "a.json", "b.json"]) == 0


def test_two_spellings_of_a_key_are_one_key(capsys: Capture) -> None:
    Path("a.json").write_text('{"zero_optimization": {"stage": 3, "stage3_prefetch_bucket_size": 7}}')
    Path("b.json").write_text('{"zero_optimization": {"stage": 3, "prefetch_bucket_size": 7}}')

    assert main(["diff", "a.json", "b.json"]) == 0


def test_the_default_of_an_absent_key_is_told(capsys: Capture) -> None:
    Path("a.json").write_text('{"zero_optimization": {"stage": 2}}')
    Path("b.json").write_text("{}")

    assert main(["diff", "a.json", "b.json"]) == 1
    assert "    zero_optimization.stage: 2 -> (0 by default)\n" in capsys.readouterr().out


def test_a_spec_is_compared_with_a_config_by_what_it_is_compiled_to(write: Write, capsys: Capture) -> None:
    write()
    main(["compile", "spec.yaml", "-o", "ds.json"])

    assert main(["diff", "spec.yaml", "ds.json"]) == 0
    assert main(["diff", "ds.json", "spec.yaml", "--world-size", "1"]) == 1
    assert "gradient_accumulation_steps: 1 -> 2" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_ends_with_2(write: Write, capsys: Capture) -> None:
    write()
    Path("bad.yaml").write_text("name: [")
    Path("empty.json").write_text("")
    write({"batch.global_batch_size": 3}).rename("odd.yaml")
    write()

    for other in ("gone.yaml", "bad.yaml", "empty.json", "odd.yaml"):
        assert main(["diff", "spec.yaml", other]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{other}" in err
