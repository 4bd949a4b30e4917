"""What each validator accepts, how it prints, and which text a mismatch gets (spec 03 3.8, spec 04 4.6).

A validator answers twice: `matches` is a compiled predicate that says yes or no quickly (nearly every value
is valid), `explain` walks slowly and finds the text of the first fault. They agree on every value:
`check` relies on it, and tests/properties compares them.

Strict by design: number is Float64 only, bigint is Int64 only, an object accepts no field it does not name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias

import orjson

from log.ids import InvalidId, decode_id
from log.invariant import invariant
from log.values import COMMIT_TS, Value, display, encode, same


class TableNames(Protocol):
    """The tables an id may point to, seen from the component whose validator is checked."""

    def name_of(self, table_number: int) -> str | None:
        """The table's name (a system table's virtual one, as `_storage`); None if users cannot name it."""
        ...

    def is_system(self, table_number: int) -> bool:
        """Whether the number belongs to a system table, virtual or not."""
        ...


Matcher: TypeAlias = Callable[[Any, TableNames], bool]
Path: TypeAlias = tuple[str, ...]
"""Where in the value: ".field", "[3]", ".keys()", ".values()" from the outside in."""


class Validator(ABC):
    """The shared surface. Instances are immutable, hashable and picklable."""

    def check(self, value: Value, tables: TableNames) -> str | None:
        """None if the value is accepted, else the text of its first fault."""
        if self.matches(value, tables):
            return None
        text = self.explain(value, tables, ())
        invariant(text is not None, "what does not match can be explained", validator=self.text)
        return text

    @cached_property
    def matches(self) -> Matcher:
        """The compiled predicate."""
        return self._compile()

    @cached_property
    def text(self) -> str:
        """As a developer wrote it: `v.object({a: v.optional(v.string())})`, fields in order."""
        return self._print()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The JSON form that `parse_validator` reads."""

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        """The text of the first fault, or None. Validators with parts override it to look inside."""
        return None if self.matches(value, tables) else _mismatch(value, self, path)

    @abstractmethod
    def _compile(self) -> Matcher: ...

    @abstractmethod
    def _print(self) -> str: ...

    def __getstate__(self) -> dict[str, Any]:
        """The declared fields only: a compiled predicate cannot travel between processes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class AnyValue(Validator):
    """Every value."""

    def to_json(self) -> dict[str, Any]:
        return {"type": "any"}

    def _compile(self) -> Matcher:
        return lambda value, tables: True

    def _print(self) -> str:
        return "v.any()"


@dataclass(frozen=True)
class Scalar(Validator):
    """Every value of one type; `json_type` is one of PYTHON_TYPES. COMMIT_TS is an Int64 to come."""

    json_type: str

    PYTHON_TYPES: ClassVar[dict[str, type]] = {
        "null": type(None),
        "number": float,
        "bigint": int,
        "commitTs": int,
        "boolean": bool,
        "string": str,
        "bytes": bytes,
    }
    _PRINTED: ClassVar[dict[str, str]] = {"number": "float64", "bigint": "int64"}

    @property
    def python_type(self) -> type:
        return self.PYTHON_TYPES[self.json_type]

    def to_json(self) -> dict[str, Any]:
        return {"type": self.json_type}

    def _compile(self) -> Matcher:
        expected = self.python_type
        if expected is int:
            return lambda value, tables: type(value) is int or value is COMMIT_TS
        return lambda value, tables: type(value) is expected

    def _print(self) -> str:
        return f"v.{self._PRINTED.get(self.json_type, self.json_type)}()"


@dataclass(frozen=True, eq=False)
class Literal(Validator):
    """One string, boolean, Int64 or finite Float64. 1, 1.0 and true are three literals."""

    value: str | bool | int | float

    def to_json(self) -> dict[str, Any]:
        return {"type": "literal", "value": encode(self.value)}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        if same(value, self.value):
            return None
        return f"`{display(value)}` does not match literal validator `{self.text}`.{_context(path)}"

    def _compile(self) -> Matcher:
        expected, kind = self.value, type(self.value)
        if kind is float:
            return lambda value, tables: type(value) is float and same(value, expected)
        return lambda value, tables: type(value) is kind and value == expected

    def _print(self) -> str:
        shown = "<bigint>" if type(self.value) is int else orjson.dumps(self.value).decode()
        return f"v.literal({shown})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and same(self.value, other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True)
class Id(Validator):
    """A string that is the id of a document in one table of the validator's component."""

    table: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "id", "tableName": self.table}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        if type(value) is not str:
            return _mismatch(value, self, path)
        try:
            number = decode_id(value).table_number
        except InvalidId:
            return _mismatch(value, self, path)
        found = tables.name_of(number)
        if found == self.table:
            return None
        if found is None and not tables.is_system(number):
            return _mismatch(value, self, path)
        source = "a system table" if found is None else f"table `{found}`"
        return (
            f'Found ID "{value}" from {source}, which does not match the table name in validator '
            f"`{self.text}`.{_context(path)}"
        )

    def _compile(self) -> Matcher:
        table = self.table

        def matches(value: Any, tables: TableNames) -> bool:
            if type(value) is not str:
                return False
            try:
                return tables.name_of(decode_id(value).table_number) == table
            except InvalidId:
                return False

        return matches

    def _print(self) -> str:
        return f'v.id("{self.table}")'


@dataclass(frozen=True)
class Array(Validator):
    """An array whose items all match."""

    item: Validator

    def to_json(self) -> dict[str, Any]:
        return {"type": "array", "value": self.item.to_json()}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        if type(value) is not list:
            return _mismatch(value, self, path)
        faults = (self.item.explain(item, tables, (*path, f"[{at}]")) for at, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)

    def _compile(self) -> Matcher:
        item_matches = self.item.matches
        return lambda value, tables: type(value) is list and all(item_matches(item, tables) for item in value)

    def _print(self) -> str:
        return f"v.array({self.item.text})"


@dataclass(frozen=True)
class Record(Validator):
    """An object with any field names that match `keys`, every field matching `values`."""

    keys: Validator
    values: Validator

    def to_json(self) -> dict[str, Any]:
        values = {"fieldType": self.values.to_json(), "optional": False}
        return {"type": "record", "keys": self.keys.to_json(), "values": values}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        if type(value) is not dict:
            return _mismatch(value, self, path)
        for name in sorted(value):
            fault = self.keys.explain(name, tables, (*path, ".keys()"))
            fault = fault or self.values.explain(value[name], tables, (*path, ".values()"))
            if fault is not None:
                return fault
        return None

    def _compile(self) -> Matcher:
        key_matches, value_matches = self.keys.matches, self.values.matches
        return lambda value, tables: (
            type(value) is dict
            and all(key_matches(name, tables) and value_matches(item, tables) for name, item in value.items())
        )

    def _print(self) -> str:
        return f"v.record({self.keys.text}, {self.values.text})"


@dataclass(frozen=True)
class Field:
    """One field of an object validator."""

    name: str
    validator: Validator
    is_optional: bool

    @property
    def text(self) -> str:
        return f"v.optional({self.validator.text})" if self.is_optional else self.validator.text


@dataclass(frozen=True)
class Object(Validator):
    """An object with exactly these fields; optional ones may be missing. `fields` is sorted by name."""

    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def to_json(self) -> dict[str, Any]:
        fields = {
            field.name: {"fieldType": field.validator.to_json(), "optional": field.is_optional}
            for field in self.fields
        }
        return {"type": "object", "value": fields}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        """Declared fields in order, then fields nobody declared."""
        if type(value) is not dict:
            return _mismatch(value, self, path)
        for field in self.fields:
            if field.name in value:
                fault = field.validator.explain(value[field.name], tables, (*path, f".{field.name}"))
            else:
                fault = None if field.is_optional else self._missing(field.name, value, path)
            if fault is not None:
                return fault
        extra = min((name for name in value if name not in self.by_name), default=None)
        return None if extra is None else self._extra(extra, value, path)

    def _missing(self, name: str, value: dict[str, Any], path: Path) -> str:
        return (
            f"Object is missing the required field `{name}`. Consider wrapping the field validator in "
            f"`v.optional(...)` if this is expected.\n{self._shown(value, path)}"
        )

    def _extra(self, name: str, value: dict[str, Any], path: Path) -> str:
        shown = self._shown(value, path)
        return f"Object contains extra field `{name}` that is not in the validator.\n{shown}"

    def _shown(self, value: dict[str, Any], path: Path) -> str:
        return f"{_context(path)}\nObject: {display(value)}\nValidator: {self.text}"

    def _compile(self) -> Matcher:
        matchers = {field.name: field.validator.matches for field in self.fields}
        required = frozenset(field.name for field in self.fields if not field.is_optional)

        def matches(value: Any, tables: TableNames) -> bool:
            if type(value) is not dict:
                return False
            for name, item in value.items():
                matcher = matchers.get(name)
                if matcher is None or not matcher(item, tables):
                    return False
            # Every name is declared, so equal counts mean that nothing is missing.
            return len(value) == len(matchers) or required.issubset(value)

        return matches

    def _print(self) -> str:
        return "v.object({" + ", ".join(f"{field.name}: {field.text}" for field in self.fields) + "})"


@dataclass(frozen=True)
class Union(Validator):
    """A value that one of the members accepts. No members: no value."""

    members: tuple[Validator, ...]

    def to_json(self) -> dict[str, Any]:
        return {"type": "union", "value": [member.to_json() for member in self.members]}

    def explain(self, value: Value, tables: TableNames, path: Path) -> str | None:
        """With several members nobody knows which one was meant, so none is blamed."""
        if len(self.members) == 1:
            return self.members[0].explain(value, tables, path)
        faults = (member.explain(value, tables, path) for member in self.members)
        return None if any(fault is None for fault in faults) else _mismatch(value, self, path)

    def _compile(self) -> Matcher:
        matchers = tuple(member.matches for member in self.members)
        return lambda value, tables: any(matches(value, tables) for matches in matchers)

    def _print(self) -> str:
        return f"v.union({', '.join(member.text for member in self.members)})"


def _context(path: Path) -> str:
    return f"Path: {''.join(path)}" if path else ""


def _mismatch(value: Value, validator: Validator, path: Path) -> str:
    shown = f"Value: {display(value)}\nValidator: {validator.text}"
    return f"Value does not match validator.\n{_context(path)}\n{shown}"
