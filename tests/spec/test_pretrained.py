"""The config beside weights is found, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.model import ModelSpec
from zerotrain.spec.pretrained import pretrained_config


def weights(folder: Path, content: str | bytes | None) -> None:
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_model_trained_from_scratch_has_none(tmp_path: Path) -> None:
    assert pretrained_config(ModelSpec(architecture="llama"), tmp_path) is None


@pytest.mark.parametrize("name", ["org/name", "name"])
def test_a_name_that_is_no_folder_is_a_hub_id(tmp_path: Path, name: str) -> None:
    assert pretrained_config(ModelSpec(pretrained=name), tmp_path) is None


@pytest.mark.parametrize("name", ["org/name", "name", "./name", "a/b/c"])
def test_a_folder_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    config = {"model_type": "llama", "hidden_size": 64}
    weights(tmp_path / name, json.dumps(config))

    assert pretrained_config(ModelSpec(pretrained=name), tmp_path) == config
    assert pretrained_config(ModelSpec(pretrained=str(tmp_path / name)), Path("/elsewhere")) == config


@pytest.mark.parametrize(
    ("name", "content", "gist"),
    [
        ("./gone", None, "no such file or directory"),
        ("a/b/gone", None, "no such file or directory"),
        ("/gone", None, "no such file or directory"),
        ("empty", "", "expecting value"),
        ("torn", '{"model_type": "lla', "unterminated string"),
        ("list", "[]", "names no `model_type`"),
        ("null", "null", "names no `model_type`"),
        ("other", '{"hidden_size": 64}', "names no `model_type`"),
        ("latin", b'{"model_type": "caf\xe9"}', "can't decode"),
    ],
)
def test_a_folder_without_a_usable_config_is_a_finding(
    tmp_path: Path, name: str, content: str | bytes | None, gist: str
) -> None:
    if content is not None:
        weights(tmp_path / name, content)

    finding = pretrained_config(ModelSpec(pretrained=name), tmp_path)

    assert isinstance(finding, Diagnostic)
    assert (finding.code, finding.place.key) == ("ZT023", "model.pretrained")
    assert "config.json" in finding.message
    assert gist in finding.message.lower()


@pytest.mark.parametrize("name", ["~/weights", "~"])
def test_a_home_directory_is_no_hub_id(tmp_path: Path, name: str) -> None:
    assert isinstance(pretrained_config(ModelSpec(pretrained=name), tmp_path), Diagnostic)


def test_a_name_that_no_folder_can_have_is_a_finding(tmp_path: Path) -> None:
    assert isinstance(pretrained_config(ModelSpec(pretrained="./" + "a" * 300), tmp_path), Diagnostic)
