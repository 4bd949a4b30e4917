"""Options that several files of commands share, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.config import CONFIG_FILE_DEFAULT, DATA_FOLDER_DEFAULT, BadSettings, Settings, read_settings

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The server's data folder.",
        envvar="TIDELOG_DATA",
        show_default=str(DATA_FOLDER_DEFAULT),
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The file of settings.",
        envvar="TIDELOG_CONFIG",
        show_default=f"{CONFIG_FILE_DEFAULT} of this folder, if there is one",
    ),
]


def settings_of(config: Path | None, data: Path | None, **options: Any) -> Settings:
    """The settings of a command, or a printed refusal that ends it with status 1."""
    try:
        return read_settings(config, data_folder=data, **options)
    except BadSettings as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
