"""Everything before workers start works without torch, DeepSpeed and the rest of the heavy wing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = ("spec", "arch", "hardware", "compile", "runs", "check", "launch", "doctor", "cli")
HEAVY = ("torch", "deepspeed", "transformers", "datasets", "accelerate", "numpy", "tokenizers", "safetensors")

IMPORT = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted(name for name in sys.modules if "." not in name or name.startswith("zerotrain"))))
"""
VERBS = """
import contextlib, io, json, sys
from zerotrain.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    codes = [main(words) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted(sys.modules)]))
"""


def modules() -> list[str]:
    """Returns every module of the light wing."""
    package = ROOT / "zerotrain"
    single = [path for path in package.glob("*.py") if path.stem not in ("__main__", "worker")]
    inside = [path for folder in LIGHT for path in (package / folder).rglob("*.py")]
    names = (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in (*single, *inside))
    return sorted(name.removesuffix(".__init__") for name in names)


def run(program: str, argument: object) -> object:
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(argument)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_importing_every_light_module_loads_nothing_heavy() -> None:
    wanted = modules()
    loaded = run(IMPORT, wanted)
    assert isinstance(loaded, list)

    assert len(wanted) > 80
    assert set(wanted) <= set(loaded)
    assert not set(HEAVY) & set(loaded)
    assert not [name for name in loaded if name.startswith("zerotrain.") and name not in wanted]


def test_verbs_that_start_nothing_load_nothing_heavy(tmp_path: Path) -> None:
    example = str(ROOT / "examples" / "quickstart.yaml")
    result = run(
        VERBS,
        [
            ["check", example],
            ["compile", example],
            ["explain", "zero_optimization", example],
            ["explain", "ZT101"],
            ["new"],
            ["schema"],
        ],
    )
    assert isinstance(result, list)
    codes, loaded = result

    assert codes == [0] * 6
    assert not set(HEAVY) & {name.partition(".")[0] for name in loaded}


@pytest.mark.parametrize("verb", ["train", "parity", "resume", "status", "export", "doctor"])
def test_the_other_verbs_load_nothing_heavy_before_they_need_it(tmp_path: Path, verb: str) -> None:
    words = [verb, str(tmp_path / "gone.yaml"), *(["-o", str(tmp_path / "out")] if verb == "export" else [])]
    result = run(VERBS, [words])
    assert isinstance(result, list)
    codes, loaded = result

    assert codes in ([1], [2])
    assert not set(HEAVY) & {name.partition(".")[0] for name in loaded}


def test_no_module_of_the_package_is_ignored_by_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    paths = [str(path.relative_to(ROOT)) for folder in ("zerotrain", "tests") for path in (ROOT / folder).rglob("*.py")]
    done = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "--stdin"],
        cwd=tmp_path,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == []
