from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.kinds import Address, parse_address, parse_duration, parse_host, parse_public_url


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000), ("0s", 0), ("007s", 7)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1.5h", "30 s", "30S", "1w", "1h30m", "٣s", "40000d", 30, None])
def test_durations_that_are_none(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|at most"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("localhost:1", Address("localhost", 1)),
    ],
)
def test_addresses_come_back_as_they_were_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "localhost", "::1:80", "[::1]", "[a]:1", "a:65536", "a:-1", "a b:1", "http://a:1", "a:１"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://a.example/", "https://a.example"),
        ("https://a.example:8443/x/y//", "https://a.example:8443/x/y"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_public_urls(text: str, url: str) -> None:
    assert parse_public_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.example",
        "ftp://a.example",
        "https://",
        "https://u:p@a.example",
        "https://a.example?",
        "https://a.example/#x",
        "https://a.example/a b",
        "https://a.example:99999",
        "https://[::1",
        "https://a.example\n",
    ],
)
def test_public_urls_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="address that platforms call"):
        parse_public_url(text)


@pytest.mark.parametrize("text", ["a.example", "A.Example:8080", "10.0.0.1", "[::1]", "[::1]:80"])
def test_hosts(text: str) -> None:
    assert parse_host(text) == text.lower()


@given(st.text(max_size=30))
def test_nothing_but_value_errors(text: str) -> None:
    for parse in (parse_duration, parse_address, parse_public_url, parse_host):
        try:
            parse(text)
        except ValueError:
            pass
