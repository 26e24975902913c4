"""Config of a Ringotel account and of a link's desk end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from syncd.secrets import OneOrMany, Secret

Name = Annotated[str, Field(min_length=1, max_length=128)]


class RingotelAccount(BaseModel):
    """Keys of `[accounts.NAME]` with `platform = "ringotel"`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: OneOrMany
    """Calls use the first; webhooks may carry any."""
    base_url: str = Field(default="https://shell.ringotel.co/api", pattern=r"^https?://[^\s/?#]+[^\s?#]*$")
    webhook_secret: Secret | None = None
    """Extra path segment of the webhook's address."""
    resend_on_reopen: bool = False
    """Send once more into the new session when an answer names one and no message (design §9)."""
    files: Literal["link", "upload"] = "link"
    """How files get there: Ringotel fetches them from `public_url`, or they are sent with the call (page §4.3)."""

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, keys: tuple[Secret, ...]) -> tuple[Secret, ...]:
        for key in keys:
            if not all("!" <= character <= "~" for character in key.reveal()):
                raise ValueError(
                    f"{key.source}: an API key has no spaces, line ends or non-ASCII characters; copy it again"
                )
        return keys

    @field_validator("webhook_secret")
    @classmethod
    def _fits_a_path(cls, secret: Secret | None) -> Secret | None:
        if secret is not None and not all("!" <= c <= "~" and c not in "/?#%" for c in secret.reveal()):
            raise ValueError(f"{secret.source}: use letters, digits, - and _ only, it becomes a part of the address")
        return secret


class RingotelEnd(BaseModel):
    """Keys of a link's `desk` besides `account`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organization: Name
    """`orgid`: 20 digits, as text."""
    users: tuple[Name, ...]
    """Extensions; a shared number (DID) may stand in a user's place."""

    @field_validator("users")
    @classmethod
    def _each_once(cls, users: tuple[str, ...]) -> tuple[str, ...]:
        if not users:
            raise ValueError("the list is empty: name at least one extension")
        twice = sorted({user for user in users if users.count(user) > 1})
        if twice:
            raise ValueError(f"name each user once; more than once: {', '.join(twice)}")
        return users
