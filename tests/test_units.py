"""Sizes, counts and durations are read as people write them, exactly, and printed back briefly."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerotrain.units import (
    Duration,
    TimeSpan,
    format_bytes,
    format_count,
    format_seconds,
    parse_bytes,
    parse_count,
    rounds_to,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("300", 300),
        (300, 300),
        ("10_000", 10_000),
        ("10,000", 10_000),
        ("1e3", 1000),
        ("1K", 1000),
        ("1.5k", 1500),
        (" 3 k ", 3000),
        ("2B", 2 * 10**9),
        ("0.25T", 25 * 10**10),
        ("1.001B", 1_001_000_000),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_a_count_is_read_exactly(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "x", "-5", "1.5", "1 000", "1KB", "K", "1e-3", "0x10", "٣", "nan", "1..5"])
def test_what_is_not_a_whole_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"`{re.escape(text)}` is not a"):
        parse_count(text)


@pytest.mark.parametrize("text", ["1,5K", "2,5B", "1,50"])
def test_a_comma_that_separates_no_thousands_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_count(text)


@pytest.mark.parametrize("text", ["1e400", "9" * 400])
def test_a_number_beyond_floats_is_read_or_refused_with_a_value_error(text: str) -> None:
    try:
        assert parse_count(text) >= 10**399
    except ValueError as refused:
        assert text in str(refused)


@given(st.integers(min_value=0, max_value=2**53))
def test_every_count_up_to_two_to_the_53_reads_back(count: int) -> None:
    assert parse_count(str(count)) == parse_count(f"{count:,}") == parse_count(f"{count:_}") == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (512, 512),
        ("5 b", 5),
        ("512MiB", 512 * 2**20),
        ("512 mib", 512 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("1.5 GB", 1_500_000_000),
        ("1 TiB", 2**40),
        ("2PB", 2 * 10**15),
        ("1.001MB", 1_001_000),
    ],
)
def test_a_size_is_read_exactly(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1 bits", "-1MiB", "1.5", "x", "1 MiB extra"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (2**40, "1TiB"),
        (3 * 2**29, "1.5GiB"),
        (-2048, "-2KiB"),
        (2**50, "1PiB"),
        (2**20 - 1, "1MiB"),
    ],
)
def test_a_size_is_printed_with_a_binary_unit(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (300, "300"),
        (1000, "1K"),
        (1234, "1.23K"),
        (48_100.4, "48.1K"),
        (1_680_000, "1.68M"),
        (2 * 10**9, "2B"),
        (7.2e12, "7.2T"),
        (0.5, "0.5"),
        (999_999, "1M"),
        (999.6, "1K"),
    ],
)
def test_a_count_is_printed_with_at_most_three_digits(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (4.2, "4.2s"),
        (42, "42s"),
        (60, "1m 00s"),
        (200, "3m 20s"),
        (119.6, "2m 00s"),
        (3599, "59m 59s"),
        (7500, "2h 05m"),
        (86_400 + 3600 * 5, "1d 05h"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
    ],
)
def test_a_time_is_printed_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("200 steps", Duration(200, "steps")),
        ("1 step", Duration(1, "steps")),
        ("200steps", Duration(200, "steps")),
        ("3 epochs", Duration(3, "epochs")),
        ("1 epoch", Duration(1, "epochs")),
        ("2B tokens", Duration(2 * 10**9, "tokens")),
        ("2 B tokens", Duration(2 * 10**9, "tokens")),
        ("1e6 tokens", Duration(10**6, "tokens")),
        ("10_000 steps ", Duration(10_000, "steps")),
    ],
)
def test_a_duration_is_a_count_with_a_unit(text: str, duration: Duration) -> None:
    assert Duration.parse(text) == duration


def test_a_duration_is_left_as_it_is() -> None:
    assert Duration.parse(Duration.steps(3)) is not None
    assert Duration.parse(Duration.steps(3)) == Duration(3, "steps")


@given(st.builds(Duration, st.integers(1, 2**53), st.sampled_from(["steps", "epochs", "tokens"])))
def test_a_printed_duration_reads_back(duration: Duration) -> None:
    assert Duration.parse(str(duration)) == duration


def test_a_duration_without_unit_is_refused_with_all_three_spellings() -> None:
    with pytest.raises(ValueError) as refused:
        Duration.parse("200")

    assert str(refused.value) == "`200` has no unit; write `200 steps`, `200 epochs` or `200 tokens`"


@pytest.mark.parametrize("text", ["0 steps", "0.0 epochs"])
def test_a_duration_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not positive"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["-1 steps", "1.5 epochs", "many steps", "steps", "1/2 epoch"])
def test_a_duration_of_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["200 Steps", "200 minutes", "fast"])
def test_a_suggested_spelling_of_a_duration_can_be_read(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        Duration.parse(text)

    suggestions = re.findall(r"`([^`]+)`", str(refused.value).partition(";")[2])
    assert all(Duration.parse(suggestion) for suggestion in suggestions)


@pytest.mark.parametrize("text", ["7B", "6.7B", "6.74B", "6.738B", "6738415616", 6_738_415_616])
def test_a_number_is_the_one_that_is_written_as_precisely_as_it_is_written(text: str | int) -> None:
    assert rounds_to(6_738_415_616, text)


@pytest.mark.parametrize("text", ["6B", "6.8B", "6.75B", "6.739B", "6738415617", 6_738_415_615, "8B"])
def test_a_number_that_rounds_to_another_is_another(text: str | int) -> None:
    assert not rounds_to(6_738_415_616, text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 seconds", 90),
        ("30 minutes", 1800),
        ("1 minute", 60),
        ("12h", 43200),
        ("1 day 6 hours", 108000),
        ("1h30m", 5400),
        (" 2 min ", 120),
    ],
)
def test_a_span_of_time_is_read_and_printed_as_it_was_written(text: str, seconds: int) -> None:
    span = TimeSpan.parse(text)

    assert (span.seconds, str(span), TimeSpan.parse(span)) == (seconds, text, span)


@pytest.mark.parametrize("text", ["", "30", "30 steps", "5 minutes or so", "0 s", "-5 s", "1.5 h", "9999999 days", "m"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"span of time|no time at all|too long"):
        TimeSpan.parse(text)
