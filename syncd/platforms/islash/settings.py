"""What the config says of an iSlash account and of a link's end on it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator

from syncd.platforms.urls import target_of
from syncd.secrets import Secret

_API = "/api/public"


def _base_url(text: str) -> str:
    """The API's base address from any of the spellings that §1 advises to take."""
    text = text.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    # urlsplit checks the port only when it is asked for.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("write the host iSlash gave you, e.g. https://customer.islash.example/api/public")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("write only the address, without user, query or fragment")
    path = parts.path.rstrip("/").removesuffix(_API)
    return f"{parts.scheme}://{parts.netloc}{path}{_API}"


def _template(text: str) -> str:
    text = text.strip()
    target_of(text.replace("{id}", "x"))
    parts = urlsplit(text)
    if "{id}" not in f"{parts.path}?{parts.query}" or "{id}" in f"{parts.netloc}#{parts.fragment}":
        raise ValueError("write {id} where the file's id stands, in the path or query")
    if re.search("[{}]", text.replace("{id}", "")):
        raise ValueError("{id} is all that can be filled in")
    return text


def _header_safe(secret: Secret) -> Secret:
    if re.fullmatch(r"[\x21-\x7e]+", secret.reveal()) is None:
        raise ValueError("a token has only printable ASCII characters, without spaces: copy it again")
    return secret


def _printable(secret: Secret) -> Secret:
    if not secret.reveal().isprintable():
        raise ValueError("a session key has no control characters or line breaks: copy it again")
    return secret


def _path_safe(secret: Secret) -> Secret:
    if re.fullmatch(r"[A-Za-z0-9._~-]+", secret.reveal()) is None:
        raise ValueError("it is a part of the webhook's address: use only letters, digits and . _ ~ -")
    return secret


class ISlashAccount(BaseModel):
    """One iSlash installation and the token for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str
    """`https://HOST/api/public`; scheme, trailing slash and `/api/public` may be left out."""
    user_token: Annotated[Secret, AfterValidator(_header_safe)]
    """Sent as `X-USER-TOKEN`."""
    param_style: Literal["form", "query"] = "form"
    """Where a send's parameters go: one multipart body, or (older installations, §3) the query string."""
    media_url_template: Annotated[str, AfterValidator(_template)] | None = None
    """Where a WhatsApp file is fetched that came without an address, e.g. `https://HOST/media/{id}` (A8).

    On the host and port of `base_url` it is shown the token. The addresses made of it are stored.
    """

    @field_validator("base_url")
    @classmethod
    def _normalise(cls, value: str) -> str:
        return _base_url(value)

    @model_validator(mode="after")
    def _keep_the_token(self) -> Self:
        if self.media_url_template is not None and self.user_token.reveal() in self.media_url_template:
            raise ValueError("leave the token out of media_url_template: base_url's host is shown it as a header")
        return self


class ISlashEnd(BaseModel):
    """One iSlash session (channel) as a link's end."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    session: Annotated[Secret, AfterValidator(_printable)]
    """The channel's key; a credential."""
    webhook_secret: Annotated[Secret, AfterValidator(_path_safe)]
    """The secret path segment that authenticates this session's webhooks and names it (A2, A3)."""
