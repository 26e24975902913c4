"""The config that scenarios run with, as TOML; its secrets are not like anything else in a log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

ORGANIZATION = "18446744073709559999"
"""20 digits, past 2**64."""
BIRD_CHANNEL = "cb4b1ebc-34e6-5a7a-a375-f6f2f131d88f"
POLLED_CHANNEL = "0c5b3a52-5b5e-4c39-9d0e-1b7a3f6f3a11"
PUBLIC_URL = "https://bridge.example.com"

API_KEY = "rk/7Q+x=kfT1$Lz0&mW9"
DESK_HOOK_SECRET = "desk-hook-4f0c2b9d7e"
ACCESS_KEY = "ak/Vb3+Zr8=Jt5&Nq2"
SIGNING_KEY = "sk/Hy6+Gd4=Pw1&Xu7"
USER_TOKEN = "ut/Ce9+Mi2=Ba8&So3"
ISLASH_SESSION = "is/Kl5+Of7=Re1&Ty4"
ISLASH_HOOK_SECRET = "islash-hook-8a6e1d3c5f"

SECRETS = (API_KEY, DESK_HOOK_SECRET, ACCESS_KEY, SIGNING_KEY, USER_TOKEN, ISLASH_SESSION, ISLASH_HOOK_SECRET)

SMS, WHATSAPP, POLLED = "sms", "whatsapp", "polled"
"""Names of the links: Bird by webhook, iSlash, Bird by polling only."""

Table = dict[str, Any]


@dataclass(slots=True)
class Settings:
    """What a scenario may want otherwise."""

    users: tuple[str, ...] = ("9003", "9004")
    links: tuple[str, ...] = (SMS, WHATSAPP, POLLED)
    """In the order of the file."""
    users_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Where a link has other users."""
    poll_interval: str = "0s"
    """Of the account whose channel has no webhooks."""
    on_unknown: str = "hold"
    rate: float = 100_000.0
    server: Table = field(default_factory=dict)
    resend_on_reopen: bool = False
    api_keys: tuple[str, ...] = (API_KEY,)
    """Of the desk: the first is what calls carry, any of them may stand in a webhook."""
    keys_of: dict[str, Table] = field(default_factory=dict)
    """More keys of a link's table, such as `max_age` and `failure_notice`."""
    media: Table = field(default_factory=dict)
    keys_of_account: dict[str, Table] = field(default_factory=dict)
    """More keys of an account's table."""

    def of(self, link: str) -> tuple[str, ...]:
        """The users of a link."""
        return self.users_of.get(link, self.users)


def toml(settings: Settings, *, database: str, listen: str, admin: str, urls: dict[str, str]) -> str:
    """The config file. `urls` are the simulators' base addresses, by platform."""
    bird = {
        "platform": "bird",
        "workspace": "a1405560-c8d3-4b1a-877d-3f449ad95352",
        "access_key": ACCESS_KEY,
        "signing_key": SIGNING_KEY,
        "base_url": urls["bird"],
        "rate": settings.rate,
    }
    tables: dict[str, Table] = {
        "server": {"listen": listen, "public_url": PUBLIC_URL, "admin_listen": admin, "drain_seconds": 10}
        | settings.server,
        "database": {"url": database},
        "log": {"format": "json", "level": "info"},
        "accounts.office": {
            "platform": "ringotel",
            "api_key": settings.api_keys[0] if len(settings.api_keys) == 1 else list(settings.api_keys),
            "webhook_secret": DESK_HOOK_SECRET,
            "base_url": urls["ringotel"],
            "rate": settings.rate,
            "resend_on_reopen": settings.resend_on_reopen,
        },
        "accounts.bird": bird | {"poll_interval": "0s"},
        "accounts.birdpoll": bird | {"poll_interval": settings.poll_interval},
        "accounts.islash": {
            "platform": "islash",
            "base_url": urls["islash"],
            "user_token": USER_TOKEN,
            "rate": settings.rate,
        },
    }
    if settings.media:
        tables["media"] = settings.media
    for account, keys in settings.keys_of_account.items():
        tables[f"accounts.{account}"] |= keys
    channels: dict[str, Table] = {
        SMS: {"account": "bird", "channel": BIRD_CHANNEL},
        POLLED: {"account": "birdpoll", "channel": POLLED_CHANNEL},
        WHATSAPP: {"account": "islash", "session": ISLASH_SESSION, "webhook_secret": ISLASH_HOOK_SECRET},
    }
    text = "".join(f"[{name}]\n{_lines(table)}\n" for name, table in tables.items())
    for link in settings.links:
        desk = {"account": "office", "organization": ORGANIZATION, "users": list(settings.of(link))}
        table = {
            "name": link,
            "desk": desk,
            "channel": channels[link],
            "region": "GB",
            "on_unknown": settings.on_unknown,
        } | settings.keys_of.get(link, {})
        text += f"[[links]]\n{_lines(table)}\n"
    return text


def _lines(table: Table) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
