"""The config's own tables; those of platforms come from their plug-ins."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from syncd.config.kinds import Address, Host, Listen, Name, PositiveDuration, PublicUrl, Region
from syncd.secrets import Secret

_SOCKET_BYTES = 107  # what a Unix socket's address holds on Linux


def _in_folder(value: Path, info: ValidationInfo) -> Path:
    path = (info.context or {}).get("folder", Path()) / value
    if len(os.fsencode(path)) > _SOCKET_BYTES:
        raise ValueError(f"the whole path is longer than {_SOCKET_BYTES} bytes: choose a shorter one, e.g. in /run")
    return Path(path)


class Section(BaseModel):
    """A table with fixed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Server(Section):
    """`[server]`: listeners, and how the daemon stops."""

    listen: Listen = Address("127.0.0.1", 8080)
    """Webhooks and media."""
    public_url: PublicUrl = Field(default_factory=lambda data: f"http://{data.get('listen', '')}")
    """What platforms call, without a trailing slash; may have a path prefix."""
    admin_listen: Listen = Address("127.0.0.1", 8081)
    """`/livez`, `/readyz`, `/metrics`."""
    control_socket: Annotated[Path, Field(strict=False, validate_default=True), AfterValidator(_in_folder)] = Path(
        "syncd.sock"
    )
    """Absolute."""
    drain_seconds: float = Field(25.0, gt=0, allow_inf_nan=False)
    max_concurrent: int = Field(512, gt=0)
    """Webhooks in hand at once."""
    max_body_bytes: int = Field(1_048_576, gt=0)
    max_head_bytes: int = Field(16_384, ge=1024)
    """Request line and header fields together."""
    head_seconds: float = Field(10.0, gt=0, allow_inf_nan=False)
    body_seconds: float = Field(10.0, gt=0, allow_inf_nan=False)
    idle_seconds: float = Field(75.0, gt=0, allow_inf_nan=False)
    """Between requests on a connection."""
    max_connections: int = Field(1024, gt=0)
    """Open connections of the public listener."""

    @model_validator(mode="after")
    def _apart(self) -> Server:
        if self.listen == self.admin_listen and self.listen.port:
            raise ValueError("listen and admin_listen are the same: give them different ports")
        return self


class DatabaseTable(Section):
    """`[database]` as written; `Database` is what becomes of it."""

    url: Secret = Secret("sqlite:///syncd.db")
    migrate: bool = True


class Log(Section):
    """`[log]`."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    bodies: bool = False
    """Whether message texts may be logged."""


class Media(Section):
    """`[media]`."""

    max_bytes: int = Field(20_000_000, gt=0)
    private_hosts: Annotated[tuple[Host, ...], Field(strict=False)] = ()
    """Lower case `host` or `host:port` that may be fetched although not public."""


class Retention(Section):
    """`[retention]`: how long things are kept."""

    bodies: PositiveDuration = timedelta(days=90)
    """Message texts and media."""
    events: PositiveDuration = timedelta(days=30)
    """Raw events; their ids are kept."""


class AccountTable(Section):
    """The keys that every `[accounts.NAME]` may have; the others are its platform's."""

    platform: str
    rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Requests a second; None: what the platform advises."""


class LinkTable(Section):
    """One `[[links]]`; its ends are checked by their platforms."""

    name: Name
    desk: dict[str, Any]
    channel: dict[str, Any]
    region: Region = "US"
    on_unknown: Literal["hold", "resend"] = "hold"
    max_age: PositiveDuration = timedelta(hours=12)
    edits: Literal["note", "ignore"] = "note"
    failure_notice: bool = True
