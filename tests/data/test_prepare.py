"""Preparing data: once, whatever happens."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zerotrain.data.cache import open_layer
from zerotrain.data.prepare import PreparedData, prepare
from zerotrain.data.stores.packed import SampleStore
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec

WORKER = """
import json, resource, sys
from zerotrain.data.prepare import prepare
from zerotrain.errors import DataError
from zerotrain.spec.data import DataSpec

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    data = DataSpec.model_validate_json(sys.argv[1])
    print(json.dumps(prepare(data, say=lambda line: print(line, flush=True)).facts.__dict__))
except DataError as failure:
    print(failure)
"""


def fields(cache: Path, **changes: Any) -> dict[str, Any]:
    train = [{"type": "python_stdlib", "max_documents": 40}]
    validation = [{"type": "python_stdlib", "split": "validation", "max_documents": 5}]
    tokenizer = {"type": "bpe", "vocab_size": 600}
    common = {"train": train, "validation": validation, "tokenizer": tokenizer, "seq_len": 128, "cache": str(cache)}
    return {**common, **changes}


def run(cache: Path, **changes: Any) -> tuple[PreparedData, list[str]]:
    lines: list[str] = []
    return prepare(DataSpec.model_validate(fields(cache, **changes)), say=lines.append), lines


def start(cache: Path, *arguments: str, **changes: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, json.dumps(fields(cache, **changes)), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.glob("*/*") if path.suffix]


def text_data(folder: Path, *texts: str) -> list[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    return [{"type": "text", "path": str(folder / "*.txt")}]


def test_facts_are_those_of_the_stores(tmp_path: Path):
    prepared, lines = run(tmp_path)
    train = SampleStore.open(prepared.train)
    assert prepared.validation is not None
    validation = SampleStore.open(prepared.validation)
    facts = prepared.facts

    assert (facts.train_samples, facts.validation_samples) == (len(train), len(validation))
    assert facts.train_tokens == train.counts(np.arange(len(train)), np.arange(len(train))).tokens
    assert facts.validation_tokens == validation.counts(np.arange(len(validation)), np.arange(len(validation))).tokens
    assert (facts.vocab_size, facts.eos_token_id, facts.pad_token_id) == (600, 0, 0)
    assert (prepared.tokenizer / "tokenizer.json").is_file()
    assert [line.split(" ")[0] for line in lines] == ["training", "tokenizing", "packed", "tokenizing", "packed"]
    assert lines[1] == "tokenizing 40 documents"


def test_without_validation_there_is_none(tmp_path: Path):
    prepared, _ = run(tmp_path, validation=[])

    assert prepared.validation is None
    assert (prepared.facts.validation_samples, prepared.facts.validation_tokens) == (0, 0)


def test_a_second_run_reuses_everything(tmp_path: Path):
    first, _ = run(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second, lines = run(tmp_path)

    assert second == first
    assert lines == [f"reusing prepared data {first.facts.fingerprint[:12]}"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_another_length_or_packing_tokenizes_nothing_again(tmp_path: Path):
    first, _ = run(tmp_path)
    for change in ({"seq_len": 64}, {"packing": "concat"}, {"packing": "none"}):
        changed, lines = run(tmp_path, **change)
        assert {line.split(" ")[0] for line in lines} == {"packed"}
        assert changed.facts.fingerprint != first.facts.fingerprint
        assert changed.facts.tokenizer_fingerprint == first.facts.tokenizer_fingerprint


def test_one_changed_byte_prepares_again(tmp_path: Path):
    train = text_data(tmp_path / "data", "some text " * 50, "more of it " * 50)
    plain = {"train": train, "validation": [], "tokenizer": {"type": "bytes"}}
    first, _ = run(tmp_path / "cache", **plain)
    (tmp_path / "data" / "0.txt").write_text("some text " * 49 + "some texT ")
    second, lines = run(tmp_path / "cache", **plain)

    assert lines[0] == "tokenizing 2 documents"
    assert second.facts.fingerprint != first.facts.fingerprint
    assert second.train != first.train


def test_new_names_and_times_of_the_same_text_change_nothing(tmp_path: Path):
    train = text_data(tmp_path / "data", "some text", "more of it")
    first, _ = run(tmp_path / "cache", train=train, validation=[])
    for path in sorted((tmp_path / "data").iterdir()):
        path.rename(path.with_name(f"renamed-{path.name}"))
    second, lines = run(tmp_path / "cache", train=train, validation=[])

    assert second == first
    assert len(lines) == 1


def test_the_same_data_in_another_cache_is_the_same(tmp_path: Path):
    one, _ = run(tmp_path / "one")
    two, _ = run(tmp_path / "two")

    assert one.facts == two.facts
    for path in (tmp_path / "one").rglob("*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.is_dir() or path.read_bytes() == other.read_bytes()


def test_processes_that_prepare_at_once_do_the_work_once(tmp_path: Path):
    processes = [start(tmp_path) for _ in range(4)]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    lines = [line for output in outputs for line in output]

    assert len({output[-1] for output in outputs}) == 1
    assert json.loads(outputs[0][-1])["vocab_size"] == 600
    assert sum(line.startswith("training a tokenizer") for line in lines) == 1
    assert sum(line.startswith("tokenizing") for line in lines) == 2
    assert sum(line.startswith("packed") for line in lines) == 2
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("stage", ["training a tokenizer", "tokenizing"])
def test_a_builder_killed_in_the_middle_leaves_nothing_that_is_used(tmp_path: Path, stage: str):
    everything = {"train": [{"type": "python_stdlib"}], "validation": []}
    with start(tmp_path / "cache", **everything) as builder:
        assert builder.stdout is not None
        for line in builder.stdout:
            if line.startswith(stage):
                break
        builder.send_signal(signal.SIGKILL)
    assert any(path.suffix == ".building" for path in leftovers(tmp_path / "cache"))

    prepared, _ = run(tmp_path / "cache")
    clean, _ = run(tmp_path / "clean")

    assert prepared.facts == clean.facts
    assert (
        SampleStore.open(prepared.train).sample(0).labels.tolist()
        == SampleStore.open(clean.train).sample(0).labels.tolist()
    )
    assert not any("tokens" in str(path) or "vocabulary" in str(path) for path in leftovers(tmp_path / "cache"))


def test_whatever_the_moment_of_death_what_is_there_is_whole(tmp_path: Path):
    clean, _ = run(tmp_path / "clean")
    for hundredths in range(20, 60, 5):
        with start(tmp_path / "cache") as builder:
            time.sleep(hundredths / 100)
            builder.send_signal(signal.SIGKILL)
        for layer in (tmp_path / "cache").glob("*/*"):
            assert layer.suffix or open_layer(layer, layer.parent.name)
        if hundredths % 10:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    assert run(tmp_path / "cache")[0].facts == clean.facts


def test_a_file_that_cannot_grow_is_a_finding_and_leaves_no_half_state(tmp_path: Path):
    limited = start(tmp_path / "cache", "20000", tokenizer={"type": "bytes"})
    output, _ = limited.communicate(timeout=120)

    assert "ZT605 unwritable-cache" in output
    assert "file too large" in output
    assert not list((tmp_path / "cache" / "tokens").iterdir())
    assert run(tmp_path / "cache")[1][-1].startswith("packed")


def test_every_problem_of_every_source_and_of_the_tokenizer_is_told_at_once(tmp_path: Path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").touch()
    paths = [tmp_path / "missing.txt", tmp_path / "*.txt", tmp_path, tmp_path / "empty.txt"]
    sources = [{"type": "text", "path": str(path)} for path in paths]
    tokenizer = {"type": "pretrained", "path": str(tmp_path / "nowhere")}

    with pytest.raises(DataError) as caught:
        run(tmp_path / "cache", train=sources, validation=sources[:1], tokenizer=tokenizer)

    assert [(finding.code, finding.place.key) for finding in caught.value.findings] == [
        ("ZT601", "data.train[0].path"),
        ("ZT602", "data.train[1].path"),
        ("ZT604", "data.train[2].path"),
        ("ZT603", "data.train[3]"),
        ("ZT601", "data.validation[0].path"),
        ("ZT606", "data.tokenizer.path"),
    ]
    assert not (tmp_path / "cache").exists()


def test_text_that_makes_no_token_is_a_finding(tmp_path: Path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"?": 0, "end": 1}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "end"}')
    tokenizer = {"type": "pretrained", "path": str(tmp_path)}

    with pytest.raises(DataError, match="ZT603 empty-data: the tokenizer makes no token of any document"):
        run(tmp_path / "cache", train=text_data(tmp_path / "data", " \n "), validation=[], tokenizer=tokenizer)


def test_a_damaged_layer_stops_preparation(tmp_path: Path):
    prepared, _ = run(tmp_path)
    (prepared.train / "trained.npy").unlink()

    with pytest.raises(DataError, match="ZT608"):
        run(tmp_path)


def test_the_model_beside_which_a_tokenizer_lies_is_told_by_the_caller(tmp_path: Path):
    ours, _ = run(tmp_path / "cache")
    data = DataSpec.model_validate(fields(tmp_path / "cache", tokenizer={"type": "pretrained"}))
    again = prepare(data, pretrained_model=str(ours.tokenizer))

    assert again.facts == ours.facts


@pytest.mark.parametrize("seq_len", [256, 2048])
def test_the_whole_library_fills_99_percent_of_its_samples(tmp_path_factory: pytest.TempPathFactory, seq_len: int):
    cache = tmp_path_factory.getbasetemp() / "library"
    tokenizer = {"type": "bpe", "vocab_size": 4096}
    facts = run(cache, train=[{"type": "python_stdlib"}], validation=[], tokenizer=tokenizer, seq_len=seq_len)[0].facts

    assert facts.vocab_size == 4096
    assert facts.train_tokens / (facts.train_samples * seq_len) > 0.99


def test_prose_fills_99_percent_of_its_samples(tmp_path: Path):
    import ast
    import sysconfig

    library = Path(sysconfig.get_path("stdlib"))
    trees = [ast.parse(path.read_text()) for path in sorted(library.glob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)]
    prose = [text for node in nodes if (text := ast.get_docstring(node))]
    facts = run(tmp_path / "cache", train=text_data(tmp_path / "data", *prose), validation=[], seq_len=512)[0].facts

    assert len(prose) > 2000
    assert facts.train_tokens / (facts.train_samples * 512) > 0.99


def test_preparation_imports_nothing_heavy():
    heavy = ("torch", "transformers", "datasets", "deepspeed", "huggingface_hub")
    code = f"import sys, zerotrain.data.prepare; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
