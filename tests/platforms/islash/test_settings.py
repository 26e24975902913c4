"""What the config may say of an iSlash account and session."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd.platforms.islash import plugin
from syncd.platforms.islash.settings import ISlashAccount, ISlashEnd
from tests.platforms.islash.harness import END, HOOK, SESSION, platform


def account(**fields: Any) -> ISlashAccount:
    return ISlashAccount.model_validate({"base_url": "customer.islash.example", "user_token": "token-1"} | fields)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("customer.islash.example", "https://customer.islash.example/api/public"),
        ("customer.islash.example/", "https://customer.islash.example/api/public"),
        ("customer.islash.example:8443/api/public", "https://customer.islash.example:8443/api/public"),
        ("https://customer.islash.example", "https://customer.islash.example/api/public"),
        ("https://customer.islash.example/api/public/", "https://customer.islash.example/api/public"),
        (" https://customer.islash.example/api/public ", "https://customer.islash.example/api/public"),
        ("http://127.0.0.1:9000//", "http://127.0.0.1:9000/api/public"),
        ("https://proxy.example/islash", "https://proxy.example/islash/api/public"),
    ],
)
def test_base_url_in_every_spelling(written: str, meant: str) -> None:
    assert account(base_url=written).base_url == meant


@pytest.mark.parametrize(
    "written", ["", "https://", "ftp://host", "https://user:pw@host", "https://host/?a=b", "https://host/#x", "host:x"]
)
def test_base_url_that_is_none(written: str) -> None:
    with pytest.raises(ValidationError):
        account(base_url=written)


def test_unknown_keys_and_styles_are_mistakes() -> None:
    for wrong in ({"token": "x"}, {"param_style": "json"}):
        with pytest.raises(ValidationError):
            account(**wrong)
    with pytest.raises(ValidationError):
        ISlashEnd.model_validate({"session": "s"})


@pytest.mark.parametrize(
    "written", ["https://h.example/m/{id}", "http://h.example:81/m?id={id}&s=1", " https://h/{id}.bin "]
)
def test_a_template_names_the_id_in_path_or_query(written: str) -> None:
    assert account(media_url_template=written).media_url_template == written.strip()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "https://h.example/m",
        "h.example/{id}",
        "/m/{id}",
        "ftp://h.example/{id}",
        "https://{id}.example/m",
        "https://h.example:{id}/m",
        "https://{id}.example/{id}",
        "https://h.example/m#{id}",
        "https://user:pw@h.example/{id}",
        "https://h.example/{id}/{ID}",
        "https://h.example/{id}?t=token-1",
    ],
)
def test_a_template_that_is_none(written: str) -> None:
    with pytest.raises(ValidationError) as error:
        account(media_url_template=written)
    assert "token-1" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "bad"), [("webhook_secret", "Kc8 a/b"), ("webhook_secret", "Kc8%2e?"), ("session", "Kc8\n1")]
)
def test_a_secret_that_cannot_be_used_is_refused_without_being_told(key: str, bad: str) -> None:
    with pytest.raises(ValidationError) as error:
        ISlashEnd.model_validate({"session": "s", "webhook_secret": "w"} | {key: bad})
    assert "Kc8" not in str(error.value)
    with pytest.raises(ValidationError) as error:
        account(user_token="Kc8 é")
    assert "Kc8" not in str(error.value)


def test_the_end_is_called_by_its_link() -> None:
    end = ISlashEnd.model_validate({"session": SESSION, "webhook_secret": HOOK})
    assert plugin.end_key("support-whatsapp", end) == "support-whatsapp"
    (door,) = platform().doors()
    assert (door.end, door.secret, door.label) == (END, HOOK, END)
