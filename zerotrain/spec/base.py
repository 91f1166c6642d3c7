"""The base of every section of a spec, and the field types they share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from zerotrain.units import Duration, TimeSpan, parse_count

Auto = Literal["auto"]
Int = Annotated[int, Field(strict=True)]
PositiveInt = Annotated[int, Field(strict=True, gt=0)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0)]
PositiveFloat = Annotated[float, Field(strict=True, gt=0)]
NonNegativeFloat = Annotated[float, Field(strict=True, ge=0)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]
Bool = Annotated[bool, Field(strict=True)]


def _read_duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Duration):
        raise PydanticCustomError("length_type", "not a length")
    return Duration.parse(value if isinstance(value, Duration) else str(value))


Length = Annotated[
    Duration,
    BeforeValidator(_read_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*[0-9][0-9_,.eE+-]*\s*[kKmMbBtT]?\s*(steps?|epochs?|tokens?)\s*$"}
    ),
]
"""A length of training or an interval: `200 steps`, `3 epochs`, `2B tokens`."""


def _read_time_span(value: Any) -> Any:
    if not isinstance(value, str | TimeSpan):
        raise PydanticCustomError("time_type", "not a span of time")
    return TimeSpan.parse(value)


Time = Annotated[
    TimeSpan,
    BeforeValidator(_read_time_span),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*([0-9]+\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)\s*)+$",
        }
    ),
]
"""A span of wall-clock time: `30 minutes`, `12h`."""


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as broken:
        raise ValueError(f"`{pattern}` is no regular expression: {broken}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_regular_expression)]
"""A regular expression, searched anywhere in a parameter's name."""


def _read_count(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("count_type", "not a count")
    return parse_count(value)


Count = Annotated[int, BeforeValidator(_read_count), Field(gt=0)]
"""A whole number that may be written with a magnitude: `10M`."""

RawKeys = dict[str, Annotated[Any, GetPydanticSchema(lambda _, handler: handler(JsonValue))]]
"""Keys of someone else's, with any values that JSON can hold."""


class Spec(BaseModel):
    """A section of the file: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        defer_build=True,
        allow_inf_nan=False,
    )
