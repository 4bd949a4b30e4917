"""Options that several files of commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[Path, typer.Option("--data", help="The server's data folder.", envvar="TIDELOG_DATA")]
