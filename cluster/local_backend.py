"""What the npm CLI says to the program it starts as its local backend, and where it looks for that program
and for what it remembers of a project (spec 02 25).

All of it is the CLI's: names of flags, paths and keys of files. Nothing here starts or writes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = "precompiled-2026-09-14-tidelog"
"""The CLI knows a backend by a date and a tag. Programs dated a day later are handed the access token of a
developer who is logged in; one that talks to nobody has no use for it."""

NAME_PREFIX = "anonymous-"
"""So begins the name of a deployment that belongs to no account."""

_USED = ("--port", "--site-proxy-port", "--instance-name", "--instance-secret")
_OF_NO_USE = (
    *("--sentry-identifier", "--beacon-tag", "--beacon-fields"),  # for reports, which we make to nobody
    *("--control-plane-url", "--control-plane-access-token"),  # for accounts, which we know nothing of
    "--local-storage",  # a folder for files: ours are in the data folder
)
USAGE = """\
Tidelog as the local backend of the npm CLI, which starts it. Options may follow the path.

convex-local-backend --port PORT --site-proxy-port PORT --instance-name NAME --instance-secret HEX STATE
convex-local-backend keygen admin-key --instance-name NAME --instance-secret HEX

Data is kept in the folder `tidelog` beside the file STATE, which is not made. Accepted and not used:
"""


class BadArguments(Exception):
    """What the program was started with makes no sense; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class AskHelp:
    """`--help` among whatever else: the CLI tries so whether the program runs at all."""

    text: str = USAGE + "  " + " ".join(_OF_NO_USE)


@dataclass(frozen=True, slots=True)
class MakeKey:
    instance_name: str
    instance_secret: str


@dataclass(frozen=True, slots=True)
class Serve:
    port: str
    site_port: str
    instance_name: str
    instance_secret: str
    data_folder: Path
    unknown: tuple[str, ...]


def read_arguments(arguments: Sequence[str]) -> AskHelp | MakeKey | Serve:
    """What is asked of the program. Names of flags that it does not know are in `unknown`, without values."""
    if "--help" in arguments:
        return AskHelp()
    if arguments[:2] == ["keygen", "admin-key"]:
        flags, _, _ = _split(arguments[2:])
        return MakeKey(_needed(flags, "--instance-name"), _needed(flags, "--instance-secret"))
    flags, paths, unknown = _split(arguments)
    if len(paths) != 1:
        raise BadArguments(f"One path is needed, beside which the data is kept; there are {len(paths)}.")
    port, site_port, name, secret = (_needed(flags, flag) for flag in _USED)
    return Serve(port, site_port, name, secret, Path(paths[0]).parent / "tidelog", tuple(unknown))


def _split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """(values of flags by name, other words, names of unknown flags). Every flag has a value, behind `=` or
    as the next word; an unknown one need not have any."""
    flags, others, unknown = dict[str, str](), list[str](), list[str]()
    words = list(reversed(arguments))
    while words:
        word = words.pop()
        if not word.startswith("--"):
            others.append(word)
            continue
        name, has_value, value = word.partition("=")
        is_known = name in _USED or name in _OF_NO_USE
        if not is_known:
            unknown.append(name)
        if not has_value and words and (is_known or not words[-1].startswith("--")):
            value = words.pop()
        flags[name] = value
    return flags, others, unknown


def _needed(flags: dict[str, str], name: str) -> str:
    if not flags.get(name):
        raise BadArguments(f"{name} needs a value.")
    return flags[name]


# --- where the CLI looks ------------------------------------------------------------------------------


def program_path(home: Path) -> Path:
    return home / ".cache" / "convex" / "binaries" / VERSION / "convex-local-backend"


def dashboard_folder(home: Path) -> Path:
    """The dashboard's pages are in `out`; `config.json` says of which version they are."""
    return home / ".cache" / "convex" / "dashboard"


def project_file(project: Path) -> Path:
    """What the CLI remembers of the project's local deployment."""
    return project / ".convex" / "local" / "default" / "config.json"
