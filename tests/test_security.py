"""What docs/security.md claims of the code as it is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .support.tree import parsed, product_modules

SECRET = re.compile(r"signature|proof|secret|token$|hmac", re.IGNORECASE)
"""Names of what only its owner can make: to compare one byte after the other would tell how much was right.
Digests are none: whoever has the content can make them."""

NO_SECRETS = {
    ("cluster/data_folder.py", "len(decoded) != INSTANCE_SECRET_BYTES"): "a length",
}
"""Comparisons that read like one of secrets and are none, with the reason."""

CHECKS = {
    "log/secrets.py": {"read_admin_key", "unseal", "check_upload_token"},
    "cluster/transport.py": {"_shake_hands"},
}
"""Where something that another shows is compared with what the instance secret makes."""


def compared_by_hand(path: Path) -> Iterator[str]:
    """Each `==` or `!=` with a side that is named like a secret."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue  # what we compare with is in the source, and no secret
            if any(SECRET.search(_name(side)) for side in sides):
                yield ast.unparse(node)


def _name(side: ast.expr) -> str:
    if isinstance(side, ast.Call):
        side = side.func
    return side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "")


def test_every_comparison_of_a_signature_takes_constant_time() -> None:
    found = {(str(path), text) for path in product_modules() for text in compared_by_hand(path)}
    assert found - set(NO_SECRETS) == set()
    for file, checks in CHECKS.items():
        functions = [node for node in ast.walk(parsed(Path(file))) if isinstance(node, ast.FunctionDef)]
        safe = {node.name for node in functions if "hmac.compare_digest(" in ast.unparse(node)}
        assert safe == checks, file
