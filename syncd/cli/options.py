"""Options that many commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The config file. Without it: SYNCD_CONFIG, ./config.toml, /etc/syncd/config.toml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
LinkOption = Annotated[str | None, typer.Option("--link", metavar="NAME", help="Only those of this link.")]
AllOption = Annotated[bool, typer.Option("--all", help="All that there are.")]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids as the list shows them.", show_default=False)
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An id as the list shows it.", show_default=False)]
NameArgument = Annotated[
    str, typer.Argument(metavar="ACCOUNT|LINK", help="A name from the config.", show_default=False)
]
