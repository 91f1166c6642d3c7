"""A comment on the line of a finding silences it; one that silences nothing is itself a finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.check.config.runner import Circumstances, lint_file
from zerotrain.check.registry import CODES
from zerotrain.check.runner import check_file
from zerotrain.check.suppress import suppress
from zerotrain.diagnostic import Diagnostic, Place, Severity, error
from zerotrain.hardware.surroundings import Surroundings

Findings = Callable[..., list[Diagnostic]]


def finding(code: str, line: int = 1, file: str = "a.yaml") -> Diagnostic:
    return error(code, "some-name", "a fact").at(Place(file, line, 1))


def left(line: str, *codes: str, file: str = "a.yaml") -> list[str]:
    """Returns the codes that are left of findings about a line with a comment."""
    return [f.code for f in suppress([finding(code, file=file) for code in codes], {file: [line]}, CODES)]


@pytest.mark.parametrize(
    "comment",
    [
        "# zerotrain: ignore[ZT304]",
        "# zerotrain:ignore[ZT304]",
        "# zerotrain: ignore [zt304]",
        "# zerotrain: ignore[ZT304]: the disk is simulated",
        "# on purpose; zerotrain: ignore[ZT3]",
        "# zerotrain: ignore[ZT304",
        "# zerotrain: ignore",
        "# zerotrain: ignore, for now",
    ],
)
def test_a_comment_silences_the_finding_on_its_line(comment: str) -> None:
    assert left(f"zero: {{stage: 2}}  {comment}", "ZT304") == []


def test_several_codes_silence_several_findings() -> None:
    assert left("a: 1 # zerotrain: ignore[ZT3,ZT101]", "ZT301", "ZT101", "ZT102") == ["ZT102"]
    assert left("a: 1 # zerotrain: ignore[ZT3 ZT1]", "ZT301", "ZT304", "ZT101") == []


def test_a_bare_comment_silences_all_of_its_line_and_no_other() -> None:
    lines = {"a.yaml": ["a: 1 # zerotrain: ignore", "b: 2"]}
    found = [finding("ZT101"), finding("ZT301"), finding("ZT101", line=2), finding("ZT101", file="b.yaml")]

    assert suppress(found, lines, CODES) == found[2:]


@pytest.mark.parametrize(
    "line",
    [
        'name: "# zerotrain: ignore"',
        "name: '# zerotrain: ignore'",
        "name: x# zerotrain: ignore",
        "# zerotrain: ignored",
        "# zerotrain: explain",
        "path: // zerotrain: ignore",
        "# zerotrain: ignore[]",
        "zerotrain: ignore",
    ],
)
def test_what_is_no_such_comment_silences_nothing(line: str) -> None:
    assert left(line, "ZT101") == ["ZT101"]


def test_an_apostrophe_in_plain_text_begins_no_quotes() -> None:
    assert left("name: don't  # it's ours; zerotrain: ignore[ZT101]", "ZT101") == []


@pytest.mark.parametrize("line", ['"a": 1, // zerotrain: ignore[ZT1]', '"a": 1 # zerotrain: ignore'])
def test_json_has_both_kinds_of_comments(line: str) -> None:
    assert left(line, "ZT101", file="ds.json") == []


def test_a_url_in_quotes_is_no_comment() -> None:
    assert left('"a": "http://x", // zerotrain: ignore[ZT1]', "ZT101", file="ds.json") == []
    assert left('"a": "http:// zerotrain: ignore"', "ZT101", file="ds.json") == ["ZT101"]


@pytest.mark.parametrize(
    ("line", "pointed", "message"),
    [
        ("a: 1 # zerotrain: ignore[ZT101, ZT304]", "ZT304", "`ZT304` silences nothing on this line"),
        ("b: 1 # zerotrain: ignore", "zerotrain: ignore", "nothing is silenced on this line"),
    ],
)
def test_zt040_a_comment_that_silences_nothing(line: str, pointed: str, message: str) -> None:
    found = [finding("ZT101")] if line.startswith("a") else []
    (useless,) = suppress(found, {"a.yaml": [line]}, CODES)
    place = useless.place

    assert (useless.code, useless.severity, useless.message) == ("ZT040", Severity.INFO, message)
    assert place.column is not None
    assert line[place.column - 1 : place.column - 1 + place.width] == pointed


def test_zt040_is_silent_where_everything_was_used_or_not_everything_was_looked_at() -> None:
    lines = {"a.yaml": ["a: 1 # zerotrain: ignore[ZT101]"]}
    broken = error("ZT003", "invalid-yaml", "broken").at(Place("a.yaml", 5, 1))

    assert suppress([finding("ZT101")], lines, CODES) == []
    assert suppress([broken], lines, CODES, [broken]) == [broken]


def test_zt040_is_silent_about_files_that_the_checked_one_extends() -> None:
    lines = {"run.yaml": ["extends: base.yaml"], "base.yaml": ["a: 1 # zerotrain: ignore[ZT101]"]}

    assert suppress([], lines, CODES) == []


def test_zt041_a_comment_with_a_code_that_does_not_exist() -> None:
    (unknown,) = suppress([], {"a.yaml": ["a: 1 # zerotrain: ignore[ZT3O4]"]}, CODES)

    assert (unknown.code, unknown.severity) == ("ZT041", Severity.WARNING)
    assert unknown.message == "no code begins with `ZT3O4`"


def test_zt041_is_silent_about_the_beginning_of_a_code() -> None:
    assert left("a: 1 # zerotrain: ignore[ZT3]", "ZT304") == []


def test_a_firm_finding_stays() -> None:
    broken = finding("ZT003")

    assert suppress([broken, finding("ZT101")], {"a.yaml": ["a # zerotrain: ignore"]}, CODES, [broken]) == [broken]


def test_a_warning_about_a_spec_is_silenced(findings: Findings) -> None:
    assert [f.code for f in findings(optimizer="{type: adamw, lr: 3.0}")] == ["ZT105"]
    assert findings(optimizer="{type: adamw, lr: 3.0}  # zerotrain: ignore[ZT105]") == []


@pytest.mark.parametrize(
    ("section", "value", "code"),
    [
        ("seed", "-1", "ZT007"),
        ("zero", "{stag: 1}", "ZT005"),
        ("batch", "{global_batch_size: 3, micro_batch_size: 2}", "ZT101"),
        ("deepspeed", "{gradient_clipping: 1.0}", "ZT310"),
    ],
)
def test_what_cannot_be_read_or_compiled_is_not_silenced(
    findings: Findings, section: str, value: str, code: str
) -> None:
    found = findings(**{section: f"{value}  # zerotrain: ignore"})

    assert code in [f.code for f in found]


def test_a_comment_in_a_file_that_is_extended_counts(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(optimizer="{type: adamw, lr: 3.0}  # zerotrain: ignore[ZT1]").rename(tmp_path / "base.yaml")
    (tmp_path / "run.yaml").write_text("extends: base.yaml\n")

    assert check_file(tmp_path / "run.yaml", Surroundings(tmp_path, tmp_path)) == []


def test_a_finding_about_a_deepspeed_config_is_silenced(tmp_path: Path) -> None:
    file = tmp_path / "ds.json"
    file.write_text('{"train_batch_size": 8, "gradient_clipping": 1.0}\n# zerotrain: ignore[ZT9]\n')

    assert [f.code for f in lint_file(file, Circumstances())] == ["ZT040"]
    file.write_text('{"train_batch_size": 8, "gradient_clipping": 1.0}\n')
    assert lint_file(file, Circumstances()) == []
