"""What every section is made of: the kinds of values, and a group of keys that refuses what it does not know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from medloom.registry import names_for
from medloom.wording import nearest

__all__ = [
    "Bool",
    "Config",
    "Named",
    "Positive",
    "Probability",
    "Seed",
    "Side",
    "Switch",
    "as_word",
    "low_first",
    "one_group",
]

_Pair = TypeVar("_Pair", tuple[int, int], tuple[float, float])

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _boolean(value: object) -> bool:
    """Accept true/false/1/0/yes/no in any case, and nothing else."""
    word = str(value).strip().lower()
    if isinstance(value, (bool, int, str)) and word in _WORDS:
        return _WORDS[word]
    raise ValueError("expected true, false, yes, no, 1 or 0")


def _switch(value: object) -> object:
    """Accept ``auto`` beside what a boolean accepts."""
    if value == "auto":
        return value
    try:
        return _boolean(value)
    except ValueError as error:
        raise ValueError("expected auto, true, false, yes, no, 1 or 0") from error


def low_first(value: _Pair) -> _Pair:
    """Accept two numbers of which the first is not above the second."""
    if value[0] > value[1]:
        raise ValueError("the first number must not be above the second")
    return value


def one_group(value: str) -> str:
    """Accept a regular expression with one group."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError("expected a regular expression with one group, around the patient")
    return value


def as_word(value: object) -> object:
    """Take a whole number for the word that it stands for: ``precision: 32`` is a number to YAML."""
    return str(value) if isinstance(value, int) else value


Bool = Annotated[bool, BeforeValidator(_boolean)]
Switch = Annotated[bool | Literal["auto"], BeforeValidator(_switch)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Seed = Annotated[int, Field(ge=0, le=2**64 - 1)]  # what torch's generators take
Side = Annotated[int, Field(ge=16, le=4096)]


@dataclass(frozen=True)
class Named:
    """A name of a registry, to annotate a field of text with.

    The table is read when a recipe is checked and when the schema is written, so a name that is added to it is known
    everywhere at once.

    Args:
        table: A table of ``medloom.registry``.
        kind: Only the names for this kind of answer; None for all.
    """

    table: Mapping[str, Any]
    kind: str | None = None

    def __hash__(self) -> int:
        return hash((id(self.table), self.kind))

    @property
    def names(self) -> tuple[str, ...]:
        """What may be said now."""
        return names_for(self.table, self.kind)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        return {**found, "enum": list(self.names)}

    def _checked(self, value: str) -> str:
        if value not in self.names:
            text = f"expected one of {', '.join(self.names)}; got {value!r}{nearest(value, self.names)}"
            raise PydanticCustomError("value_error", "{text}", {"text": text})
        return value


class Config(BaseModel):
    """A group of keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_yaml_meant_it(cls, value: object, info: ValidationInfo) -> object:
        """A group without keys means its defaults; ``yes`` is a boolean in YAML and never a number or a word."""
        expected = cls.model_fields[info.field_name or ""].annotation
        if value is None and isinstance(expected, type) and issubclass(expected, Config):
            return {}
        if isinstance(value, bool) and bool not in (expected, *get_args(expected)):
            raise ValueError("YAML reads true, false, yes and no as booleans; this key takes none, so quote a word")
        return value
