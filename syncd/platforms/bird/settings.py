"""Config of a Bird account and of a link's channel on it (design §4)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from syncd.secrets import OneOrMany, Secret

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")


def _uuid(value: str) -> str:
    text = value.strip().lower()
    if text.startswith("ws_"):
        raise ValueError("this is an id of Bird's newer platform (ws_…); give the workspace's UUID instead")
    if not _UUID.fullmatch(text):
        raise ValueError("write a UUID, like a1405560-c8d3-4b1a-877d-3f449ad95352")
    return text


def _access_key(value: Secret) -> Secret:
    if value.reveal().startswith("bk_"):
        raise ValueError(
            "this is a key of Bird's newer platform (bk_…), which does not fit the API at api.bird.com; "
            "make an access key in the workspace's settings instead"
        )
    return value


def _base_url(value: str) -> str:
    url = value.strip().rstrip("/")
    if not re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", url):
        raise ValueError("write an http(s) address without a query, like https://api.bird.com")
    return url


def _host(value: str) -> str:
    host = value.strip().lower()
    if not _HOST.fullmatch(host):
        raise ValueError("write a host or host:port, like media.api.bird.com")
    return host


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write a duration as text, like "30s", "5m" or "1h"')
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


Uuid = Annotated[str, AfterValidator(_uuid)]


class BirdAccount(BaseModel):
    """`[accounts.NAME]` of a Bird workspace. Errors never hold the value that was refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    workspace: Uuid
    organization: Uuid | None = None
    """Needed to manage webhook subscriptions where the short path is not granted."""
    access_key: Annotated[Secret, AfterValidator(_access_key)]
    signing_key: OneOrMany
    """Sign the webhooks; used as the texts that they are, also where they look like base64. Bird is given the first."""
    base_url: Annotated[str, AfterValidator(_base_url)] = "https://api.bird.com"
    media_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = ("media.api.bird.com",)
    """The only hosts that are ever shown the access key, besides `base_url`."""
    poll_interval: Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))] = timedelta(seconds=30)
    """Zero turns polling off."""


class BirdEnd(BaseModel):
    """`channel = { account = …, channel = … }` of a link."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    channel: Uuid


def end_key(link: str, settings: Any) -> str:
    """A channel end is called by its channel id, whichever link it stands on."""
    channel: str = settings.channel
    return channel
