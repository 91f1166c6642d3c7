"""The CPU image, built and run for real by buildah, which needs no daemon."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

ROOT = Path(__file__).parents[2]
MISSING = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
USER = 1000

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a base image and run it"),
    pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)}: run `tests/cluster/setup.sh image`"),
]


@dataclass(frozen=True)
class Pip:
    """What pip is told on this machine, as a build gets it without keeping it."""

    secret: Path
    mounts: list[Path]


@dataclass(frozen=True)
class Image:
    """A built image, and a container of it."""

    buildah: Sequence[str]
    container: str
    config: dict[str, Any]

    def command(self, words: Sequence[str], workspace: Path, user: str | None = None) -> list[str]:
        """Returns how a container engine would run the image's entry point with words."""
        volume = ["--volume", f"{workspace}:/workspace:rw"]
        entry = [*self.config["Entrypoint"], *(words or self.config["Cmd"])]
        who = ["--user", user or self.config["User"], "--workingdir", self.config["WorkingDir"]]
        return [*self.buildah, "run", "--isolation", "chroot", *who, *volume, self.container, "--", *entry]


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Pip:
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE)
    secret = tmp_path_factory.mktemp("pip") / "pip.conf"
    lines = (f"{name} = {value}".replace("\\n", " ") for name, value in dict(found).items())
    secret.write_text("\n".join(["[global]", *lines, ""]))
    words = {word for _, value in found for word in value.replace("\\n", " ").split()}
    return Pip(secret, sorted({place for place in map(place_of, words) if place and place.exists()}))


def place_of(word: str) -> Path | None:
    """Returns what a build has to see for a word of pip's settings; an index on disk has its files beside it."""
    if word.startswith("file://"):
        return Path(word.removeprefix("file://")).parent
    return Path(word) if word.startswith("/") else None


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    place = tmp_path_factory.mktemp("buildah")
    start = ["buildah", "--storage-driver", "vfs", "--root", str(place / "root"), "--runroot", str(place / "run")]
    yield start
    subprocess.run([*start, "rm", "--all"], check=False)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def base(buildah: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian with Python and no compiler."""
    place = tmp_path_factory.mktemp("debian")
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", str(place)], check=True)
    container = said(*buildah, "from", "scratch")
    said(*buildah, "copy", "--quiet", container, str(place), "/")
    said(*buildah, "commit", "--quiet", container, "localhost/base")
    said(*buildah, "rm", container)
    shutil.rmtree(place)
    return "localhost/base"


@pytest.fixture(scope="module")
def image(buildah: list[str], base: str, pip: Pip) -> Image:
    arguments = {"BASE_IMAGE": base, "TORCH_INDEX": "", "OPS": "SHM_COMM FUSED_ADAM"}
    given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    mounts = [word for place in pip.mounts for word in ("--volume", f"{place}:{place}:ro")]
    secret = ["--secret", f"id=pip.conf,src={pip.secret}"]
    file = ["--file", str(ROOT / "docker" / "Dockerfile.cpu")]
    build = [*buildah, "build", "--isolation", "chroot", "--pull-never", *given, *mounts, *secret, *file]
    done = subprocess.run([*build, "--tag", "localhost/cpu", str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    config = json.loads(said(*buildah, "inspect", "--type", "image", "localhost/cpu"))
    return Image(buildah, said(*buildah, "from", "--pull-never", "localhost/cpu"), config["OCIv1"]["config"])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Someone's directory with a spec, which the user of the image may write to."""
    shutil.copy(ROOT / "docker" / "verify" / "verify.yaml", tmp_path / "tiny.yaml")
    os.chown(tmp_path, USER, USER)
    # pytest keeps what is above it to its own user.
    for above in list(tmp_path.parents)[:3]:
        above.chmod(0o755)
    return tmp_path


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(image: Image, workspace: Path) -> Run:
    def start(*words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(image.command(words, workspace, user), capture_output=True, text=True, check=False)

    return start


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def in_image(image: Image, script: str) -> str:
    return said(*image.buildah, "run", "--isolation", "chroot", image.container, "--", "sh", "-c", script)


def test_the_image_runs_as_someone_who_is_not_root(image: Image) -> None:
    assert image.config["User"] == str(USER)
    assert in_image(image, "id -u; echo $HOME").split() == [str(USER), "/home/zerotrain"]


def test_nothing_of_how_packages_were_found_stays_in_the_image(image: Image, pip: Pip) -> None:
    assert not [word for word in image.config["Env"] if word.startswith("PIP_")]
    assert in_image(image, "cat /etc/pip.conf /etc/xdg/pip/pip.conf ~/.config/pip/pip.conf 2>/dev/null || :") == ""
    folders = shlex.join(str(place) for place in pip.mounts if place.is_dir())
    assert in_image(image, f"find /mnt {folders} -type f -size +0 2>/dev/null || :") == ""


def test_the_image_has_no_compiler_and_no_leftovers(image: Image) -> None:
    assert in_image(image, "command -v g++ gcc cc || :") == ""
    assert in_image(image, "find /workspace /tmp /home/zerotrain/.cache /var/lib/apt/lists -type f || :") == ""


def test_the_verbs_are_those_outside_with_the_same_exit_codes(run: Run, workspace: Path) -> None:
    (workspace / "bad.yaml").write_text((workspace / "tiny.yaml").read_text().replace("horizon:", "horizont:"))
    good, bad, unknown, nothing = run("check", "tiny.yaml"), run("check", "bad.yaml"), run("trian", "tiny.yaml"), run()

    assert (good.returncode, bad.returncode, unknown.returncode, nothing.returncode) == (0, 1, 2, 0), good.stderr
    assert "bad.yaml:12:1: error[ZT005]" in bad.stdout
    assert "invalid choice: 'trian'" in unknown.stderr
    assert "verbs:" in nothing.stdout


def test_two_steps_are_trained_without_compiling_and_belong_to_the_user(run: Run, workspace: Path) -> None:
    done = run("train", "tiny.yaml")
    made = RunDirectory(workspace / "runs" / "verify")

    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(curve(made)) == [1, 2]
    assert "compiling" not in done.stdout + "".join(log.read_text() for log in made.logs.glob("*/*.log"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made.root.rglob("*")} == {(USER, USER)}


def test_a_user_without_name_and_home_trains_too(run: Run, workspace: Path) -> None:
    os.chown(workspace, 4321, 4321)
    done = run("train", "tiny.yaml", user="4321:4321")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (workspace / "runs" / "verify" / "metrics.jsonl").stat().st_uid == 4321


def test_a_request_to_stop_reaches_the_trainer(image: Image, workspace: Path) -> None:
    command = image.command(["train", "tiny.yaml", "horizon=100000 steps"], workspace)
    metrics = workspace / "runs" / "verify" / "metrics.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_for(lambda: metrics.exists() and '"train"' in metrics.read_text())
        os.kill(tini(workspace), signal.SIGTERM)
        output, _ = process.communicate(timeout=60)

    assert "stopped by SIGTERM; continue with `zerotrain resume runs/verify`" in output
    assert process.returncode == 128 + signal.SIGTERM
    assert not processes(workspace)


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def processes(workspace: Path) -> dict[int, list[str]]:
    """Returns the command lines of what runs in a workspace, by process."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").stat().st_ino == workspace.stat().st_ino
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if here:
            found[int(process.name)] = words
    return found


def tini(workspace: Path) -> int:
    return next(number for number, words in processes(workspace).items() if Path(words[0]).name == "tini")
