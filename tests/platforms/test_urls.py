"""How URLs of strangers are read, and which addresses are the world's."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.platforms.outside import NotPublic, is_public, public_socket
from syncd.platforms.urls import LONGEST, Hosts, target_of

NOT_PUBLIC = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
)
PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "2620:fe::fe",
)

REFUSED = (
    "",
    "files.example.com/a",
    "//files.example.com/a",
    "ftp://files.example.com/a",
    "file:///etc/passwd",
    "gopher://files.example.com/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "unix:///run/syncd.sock",
    "https:files.example.com",
    "https:/files.example.com",
    "https:///files.example.com",
    "https://",
    "https://:443/",
    "https://user@files.example.com/",
    "https://user:password@files.example.com/",
    "https://@files.example.com/",
    "https://files.example.com@127.0.0.1/",
    "https://files.example.com:443@127.0.0.1/",
    "https://files.example.com\\@127.0.0.1/",
    "https://files.example.com\\.127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https://files.example.com/\\a",
    "https://files%2eexample.com/",
    "https://127.0.0.1%2f@files.example.com/",
    "https://%31%32%37.0.0.1/",
    "https://[::1%25lo]/",
    "https://[fe80::1%lo]/",
    "https://[::1/",
    "https://[127.0.0.1]/",
    "https://[v1.x]/",
    "https://[::1]x/",
    "https://[]/",
    "https://::1/",
    "https://files.example.com:/",
    "https://files.example.com:0/",
    "https://files.example.com:65536/",
    "https://files.example.com:4a/",
    "https://files.example.com:-1/",
    "https://files.example.com:٤٤٣/",
    "https://files.example.com./",
    "https://127.0.0.1./",
    "https://.files.example.com/",
    "https://files..example.com/",
    "https://-files.example.com/",
    "https://" + "a" * 64 + ".example.com/",
    "https://" + "a." * 127 + "example.com/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.01/",
    "https://127.0.0.256/",
    "https://127.0.0.1.1/",
    "https://files.example.0x/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.０.０.１/",
    "https://١٢٧.0.0.1/",
    "https://127。0。0。1/",
    "https://loсalhost/",
    "https://ﬁles.example.com/",
    "https://files.example.com\u3002evil.example/",
    "https://files.example.com\u2044evil/",
    "https://files.exam\u00adple.com/",
    "https://files.example.com\ufe68/",
    " https://files.example.com/",
    "https://files.example.com/ ",
    "https://files.example.com/\n",
    "\u00a0https://files.example.com/",
    "https://files.example.com /",
    "https://files.exam\tple.com/",
    "https://files.example.com/\r\nHost: evil",
    "https://files.example.com/\x00",
    "https://files.example.com/\x7f",
    "https://files.example.com/\u2028",
    "https://files.example.com/\ud800",
    "ht\ntps://files.example.com/",
    "https://files.example.com/" + "a" * LONGEST,
)


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
def test_what_is_not_plain_is_refused(url: str) -> None:
    """G12: one spelling, one meaning; the words of the refusal hold nothing of the URL."""
    with pytest.raises(ValueError) as refused:
        target_of(url)
    assert str(refused.value).isascii() and len(str(refused.value)) < 120
    assert "127" not in str(refused.value) and "password@" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "sent"),
    [
        ("https://files.example.com", "files.example.com", 443, "/"),
        ("HTTPS://Files.Example.COM:8443/A", "files.example.com", 8443, "/A"),
        ("http://h/", "h", 80, "/"),
        ("https://a_b.xn--bcher-kva.example/x", "a_b.xn--bcher-kva.example", 443, "/x"),
        ("https://1.2.3.4:80/x", "1.2.3.4", 80, "/x"),
        ("https://[2606:4700:0::1111]/x", "2606:4700::1111", 443, "/x"),
        ("https://h?a=b#c", "h", 443, "/?a=b"),
        ("https://h#c", "h", 443, "/"),
        # Signed: not a byte may change.
        ("https://h/a%2Fb%7e/../c?X-Sig=a%2Bb%3D%3D&e=a+b;c=[1]", "h", 443, None),
        ("https://h/%zz%", "h", 443, None),
        ("https://h/a b/文件.pdf?ü", "h", 443, "/a%20b/%E6%96%87%E4%BB%B6.pdf?%C3%BC"),
        ('https://h/"<x>"', "h", 443, "/%22%3Cx%3E%22"),
    ],
)
def test_what_is_plain_is_sent_as_it_is(url: str, host: str, port: int, sent: str | None) -> None:
    found = target_of(url)
    assert (found.host, found.port) == (host, port)
    assert found.url.raw_path_qs == (sent if sent is not None else url.partition("//h")[2])


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", "https://files.example.com", ""]))
@example("@127.0.0.1", "https://files.example.com")
@example("/../?#@[", "https://files.example.com")
def test_any_text_is_refused_or_read_one_way(text: str, start: str) -> None:
    """G12: what is taken has the host that stands in front of the first slash, and nothing else."""
    try:
        found = target_of(start + text)
    except ValueError:
        return
    assert found.url.raw_host == found.host
    assert found.url.raw_user is None and found.url.raw_password is None
    written = (start + text).partition("://")[2].lower()
    assert written.startswith((found.host, "["))
    assert str(found.url).isascii() and " " not in str(found.url)


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("/b?x=1", "https://files.example.com/b?x=1"),
        ("b", "https://files.example.com/a/b"),
        ("?q", "https://files.example.com/a/x?q"),
        ("//Other.example/c", "https://other.example/c"),
        ("http://other.example:81/c#d", "http://other.example:81/c"),
        ("https:c", "https://files.example.com/a/c"),
    ],
)
def test_where_redirects_lead(location: str, leads: str) -> None:
    assert str(target_of("https://files.example.com/a/x").joined(location).url) == leads


@pytest.mark.parametrize(
    "location",
    [
        "\\\\evil/",
        "//user@h/",
        "ftp://h/",
        "http:c",
        "//[::1",
        "//h\x00/",
        "//127.1/",
        "https://\u2100.example/",
        "\n/",
    ],
    ids=ascii,
)
def test_redirects_are_read_as_strictly(location: str) -> None:
    with pytest.raises(ValueError):
        target_of("https://files.example.com/a/x").joined(location)


@pytest.mark.parametrize(
    ("entries", "url", "has", "has_port"),
    [
        (("h",), "http://h:81/", True, False),
        (("H:81",), "http://h:81/", True, True),
        (("h:81",), "http://h/", False, False),
        (("h",), "http://x.h/", False, False),
        (("h.",), "http://h/", True, False),
        (("[::1]:81",), "http://[0:0::1]:81/", True, True),
        (("[::1]",), "http://[::1]:82/", True, False),
        (("127.0.0.1:81",), "http://127.0.0.1:81/", True, True),
        ((), "http://h/", False, False),
    ],
)
def test_configured_hosts_are_exactly_those(entries: tuple[str, ...], url: str, has: bool, has_port: bool) -> None:
    hosts = Hosts(entries)
    assert (hosts.has(target_of(url)), hosts.has_port(target_of(url))) == (has, has_port)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_the_worlds(address: str) -> None:
    """G12: no socket is made for it, in whatever family it comes."""
    assert not is_public(ip_address(address))
    for family in (socket.AF_INET, socket.AF_INET6):
        with pytest.raises(NotPublic):
            public_socket((family, socket.SOCK_STREAM, 0, "", (address, 443)))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_the_worlds(address: str) -> None:
    assert is_public(ip_address(address))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    public_socket((family, socket.SOCK_STREAM, 0, "", (address, 443))).close()


@pytest.mark.parametrize("place", ["localhost", "2130706433", "127.1", "0x7f.1", "", "8.8.8.8 ", "files.example.com"])
def test_a_socket_is_made_for_addresses_only(place: str) -> None:
    """G12: the system would resolve anything else itself, unseen."""
    with pytest.raises(NotPublic):
        public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (place, 443)))
    with pytest.raises(NotPublic):
        public_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 443)))
