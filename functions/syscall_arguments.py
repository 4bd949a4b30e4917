"""Arguments of system calls, read with their types: user code may call the host with anything (spec 03 2.1).

The npm package sends what is right; whoever calls `Convex.asyncSyscall` by hand gets a refusal that names the
argument, and nothing else happens. Each function returns the argument or raises `InvalidArgument`.
"""

from __future__ import annotations

from typing import Any

from functions import errors

_SOURCES = {"FullTableScan": "tableName", "IndexRange": "indexName", "Search": "indexName"}
_ORDERS = (None, "asc", "desc")


def text(args: dict[str, Any], name: str, method: str) -> str:
    value = args.get(name)
    if not isinstance(value, str):
        raise errors.invalid_argument(name, method, f"expected a string, got {_kind(value)}")
    return value


def optional_text(args: dict[str, Any], name: str, method: str) -> str | None:
    return None if args.get(name) is None else text(args, name, method)


def whole_number(args: dict[str, Any], name: str, method: str) -> int:
    value = args.get(name)
    if not _is_whole_number(value):
        raise errors.invalid_argument(name, method, "expected a whole number that is not negative")
    return int(value)  # type: ignore[arg-type]


def optional_whole_number(args: dict[str, Any], name: str, method: str) -> int | None:
    return None if args.get(name) is None else whole_number(args, name, method)


def one_of(args: dict[str, Any], name: str, known: dict[str, str], method: str) -> str:
    """What a known word stands for."""
    value = args.get(name)
    if not isinstance(value, str) or value not in known:
        raise errors.invalid_argument(name, method, f"expected one of {', '.join(known)}")
    return known[value]


def json_object(args: dict[str, Any], name: str, method: str) -> dict[str, Any]:
    value = args.get(name)
    if not isinstance(value, dict):
        raise errors.invalid_argument(name, method, f"expected an object, got {_kind(value)}")
    return value


def whole_numbers(args: dict[str, Any], name: str, method: str) -> dict[str, int]:
    """An object of such numbers; an absent one is empty."""
    if args.get(name) is None:
        return {}
    value = json_object(args, name, method)
    return {key: whole_number(value, key, method) for key, found in value.items() if found is not None}


def query(args: dict[str, Any], method: str) -> dict[str, Any]:
    """A serialized query of the right shape. What it names, and its values, are checked by its plan."""
    tree = args.get("query")
    cause = _query_fault(tree)
    if cause is not None:
        raise errors.invalid_argument("query", method, cause)
    assert isinstance(tree, dict)
    return tree


def _query_fault(tree: Any) -> str | None:
    if not isinstance(tree, dict) or not isinstance(tree.get("source"), dict):
        return "a query is an object with a source"
    source = tree["source"]
    name_field = _SOURCES.get(source.get("type")) if isinstance(source.get("type"), str) else None
    if name_field is None or not isinstance(source.get(name_field), str):
        return "a source is a table, an index range or a search, and names it"
    order = source.get("order")
    if not (order is None or isinstance(order, str)) or order not in _ORDERS:
        return "an order is asc or desc"
    if source["type"] == "IndexRange" and not _is_range(source.get("range")):
        return "a range is a list of operators with type, fieldPath and value"
    if source["type"] == "Search" and not _is_search(source.get("filters")):
        return "a search is a list of filters with type, fieldPath and value"
    operators = tree.get("operators", [])
    if not isinstance(operators, list) or not all(_is_operator(operator) for operator in operators):
        return "an operator is a filter or a limit"
    return None


def _is_range(items: Any) -> bool:
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and isinstance(item.get("type"), str)
        and isinstance(item.get("fieldPath"), str)
        and "value" in item
        for item in items
    )


def _is_search(items: Any) -> bool:
    return _is_range(items) and all(
        item["type"] == "Eq" or (item["type"] == "Search" and isinstance(item["value"], str))
        for item in items
    )


def _is_operator(operator: Any) -> bool:
    if not isinstance(operator, dict):
        return False
    return "filter" in operator or _is_whole_number(operator.get("limit"))


def _is_whole_number(value: Any) -> bool:
    """And not negative. JavaScript writes whole numbers with or without a fraction of zero."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(is_number and value >= 0 and value == value // 1)


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return "nothing" if value is None else names.get(type(value), "an object")
