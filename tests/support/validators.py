"""Short ways to write validators in tests, and a fixed set of tables."""

from __future__ import annotations

from typing import Any

from functions.validators import Validator, parse_validator
from log.ids import encode_id

NUMBERS = {"users": 10_001, "channels": 10_002, "_storage": 540, "_tables": 513}


class FixedTables:
    """Two user tables, one virtual and one private system table."""

    def name_of(self, table_number: int) -> str | None:
        named = {10_001: "users", 10_002: "channels", 540: "_storage"}
        return named.get(table_number)

    def is_system(self, table_number: int) -> bool:
        return 512 < table_number < 10_000


TABLES = FixedTables()


def an_id(table: str) -> str:
    return encode_id(NUMBERS[table], b"0123456789abcdef")


def tree(shape: Any) -> dict[str, Any]:
    """The exported JSON of a shape: "string", ["union", ..], ["array", x], ["id", t], ["literal", v],
    ["record", k, v], {"field": x, "maybe?": y}."""
    if isinstance(shape, str):
        return {"type": shape}
    if isinstance(shape, dict):
        fields = {
            name.rstrip("?"): {"fieldType": tree(inner), "optional": name.endswith("?")}
            for name, inner in shape.items()
        }
        return {"type": "object", "value": fields}
    kind, *rest = shape
    match kind:
        case "union":
            return {"type": "union", "value": [tree(member) for member in rest]}
        case "array":
            return {"type": "array", "value": tree(rest[0])}
        case "id":
            return {"type": "id", "tableName": rest[0]}
        case "record":
            values = {"fieldType": tree(rest[1]), "optional": False}
            return {"type": "record", "keys": tree(rest[0]), "values": values}
    return {"type": kind, "value": rest[0]}


def validator(shape: Any) -> Validator:
    return parse_validator(tree(shape))
