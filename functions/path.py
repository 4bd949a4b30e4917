"""How a function is named: `dir/module:function` (spec 03 1.5, spec 01 3.8). Also used by the gateway.

Three spellings of one path: what clients send (`.js` and `:default` may be missing), the canonical one that
is stored and hashed (`dir/mod.js:fn`), and the displayed one (`dir/mod:fn`, `mod` for its default export).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from log.errors import bad_function_identifier
from log.ids import is_identifier
from log.limits import FUNCTION_PATH_CACHE_LENGTH_MAX, FUNCTION_PATH_COMPONENT_BYTES_MAX

DEFAULT_FUNCTION: Final = "default"
SYSTEM_FOLDER: Final = "_system/"

_COMPONENT: Final = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class FunctionPath:
    """A valid path. `module` ends with ".js", has no leading slash and no component of dots alone."""

    module: str
    function: str

    @property
    def canonical(self) -> str:
        return f"{self.module}:{self.function}"

    @property
    def display(self) -> str:
        """What messages show: the module without its extension, `:default` left out."""
        stem = self.module.removesuffix(".js")
        return stem if self.function == DEFAULT_FUNCTION else f"{stem}:{self.function}"

    @property
    def is_system(self) -> bool:
        """Whether it names one of our own functions, which only admins may call (spec 03 1.6)."""
        return self.module.startswith(SYSTEM_FOLDER)

    def __str__(self) -> str:
        return self.canonical


@lru_cache(maxsize=FUNCTION_PATH_CACHE_LENGTH_MAX)
def parse_function_path(text: str) -> FunctionPath:
    """The path a text names; 400 BadConvexFunctionIdentifier if it names none (spec 01 2.3)."""
    module, colon, function = text.rpartition(":")
    if not colon:
        module, function = text, DEFAULT_FUNCTION
    fault = _module_fault(module) or _function_fault(function)
    if fault is not None:
        raise bad_function_identifier(text, fault)
    return FunctionPath(_with_extension(module), function)


def parse_module_path(text: str) -> str:
    """The canonical path of a module (`dir/mod.js`), by the same rules."""
    fault = _module_fault(text)
    if fault is not None:
        raise bad_function_identifier(text, fault)
    return _with_extension(text)


def _with_extension(module: str) -> str:
    return module if module.endswith(".js") else f"{module}.js"


def _module_fault(module: str) -> str | None:
    """Why `module` is no module path, or None."""
    if not module:
        return "Module paths must not be empty."
    if module.startswith("/"):
        return f"Module path ({module}) must be relative."
    components = module.split("/")
    for component in components:
        if fault := _component_fault(component):
            return fault
    stem, dot, extension = components[-1].rpartition(".")
    if dot and stem and extension != "js":
        return f"Module path ({module}) has an extension that isn't 'js'."
    return None


def _component_fault(component: str) -> str | None:
    # Without ".js", so that adding it never makes a valid path invalid.
    if len(component.removesuffix(".js")) > FUNCTION_PATH_COMPONENT_BYTES_MAX:
        return (
            f"Path component ({component}) is longer than the maximum of "
            f"{FUNCTION_PATH_COMPONENT_BYTES_MAX} characters."
        )
    if not _COMPONENT.fullmatch(component):
        return (
            f"Path component ({component}) can only contain letters, digits, underscores and periods, "
            "and must contain at least one letter or digit."
        )
    return None


def _function_fault(function: str) -> str | None:
    if is_identifier(function):
        return None
    return (
        f"Function name ({function}) must start with a letter or underscore, can only contain letters, "
        "digits and underscores, and must be 64 characters or less."
    )
