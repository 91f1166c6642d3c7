"""What `import zerotrain` gives, and that it costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import zerotrain
from zerotrain.errors import SpecError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "quickstart.yaml"


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert sorted(zerotrain.__all__) == ["__version__", "check", "compile", "load_spec", "train"]
    assert all(callable(getattr(zerotrain, name)) for name in zerotrain.__all__ if name != "__version__")


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = zerotrain.nothing


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = python(
        "import sys, zerotrain; print(sorted({'pydantic', 'yaml', 'torch', 'argparse'} & set(sys.modules)))"
    )

    assert loaded == "[]"


@pytest.mark.parametrize(
    "before", ["", "import zerotrain.check.runner; ", "import zerotrain.compile.emit, zerotrain.cli.main; "]
)
def test_the_names_work_whatever_was_imported_before(before: str) -> None:
    call = f"zerotrain.check({str(EXAMPLE)!r}), zerotrain.compile({str(EXAMPLE)!r})['train_batch_size']"

    assert python(f"{before}import zerotrain; print({call})") == "[] 32"


def test_checking_and_compiling_from_python_is_the_command_line_s(tmp_path: Path) -> None:
    assert [finding.code for finding in zerotrain.check(EXAMPLE, ["optimizer.lr=3.0"])] == ["ZT105"]
    assert zerotrain.compile(EXAMPLE, ["zero.stage=3"], 1)["zero_optimization"]["stage"] == 3
    assert "scheduler" not in zerotrain.compile(EXAMPLE, target="zerotrain")
    assert zerotrain.load_spec(EXAMPLE).name == "quickstart"


def test_a_spec_that_cannot_be_compiled_is_refused_with_its_findings() -> None:
    for override, code in (("batch.global_batch_size=3", "ZT101"), ("optimizer.lr=-1", "ZT007")):
        with pytest.raises(SpecError) as refused:
            zerotrain.compile(EXAMPLE, [override])

        assert [finding.code for finding in refused.value.findings] == [code]
