"""Webhook subscriptions: looking at them and putting them right (page §7.1).

Each linked channel has one subscription for each kind of event, filtered by `channelId` and by nothing else: Bird gives
an unfiltered subscription nothing that a filtered one takes, so the two are never mixed. Only subscriptions that post
to this account's own address are touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from syncd.engine.platform import AccountSetup, Finding
from syncd.model.sending import SendError
from syncd.platforms.bird.api import Api, Pages
from syncd.platforms.bird.wire import Channel, Listing, Subscription, instant, stamp, text

KINDS = ("inbound", "outbound", "interaction")
_URL = re.compile(r"https://([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(/[^\s]*)?")
"""What Bird takes as the URL of a webhook."""
_ADVICE = "run `syncd hooks register`"

_CHANNEL = msgspec.json.Decoder(Channel)
_LISTING = msgspec.json.Decoder(Listing)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription that has to be there."""

    event: str
    channel: str
    url: str
    signing_key: str

    @property
    def subject(self) -> str:
        """What a finding calls it."""
        return f"webhook {self.event} of channel {self.channel}"

    def creation(self) -> dict[str, Any]:
        """The body of the request that makes it. A `template` would change the payload's format: left out."""
        return {
            "service": "channels",
            "event": self.event,
            "url": self.url,
            "eventFilters": [{"key": "channelId", "value": self.channel}],
            "signingKey": self.signing_key,
        }

    def fits(self, found: Subscription) -> bool:
        """It is this one, whatever state it is in."""
        filters = [(text(item.key), (text(item.value) or "").lower()) for item in found.event_filters or ()]
        return (
            found.service == "channels"
            and found.event == self.event
            and found.url == self.url
            and filters == [("channelId", self.channel)]
        )

    def repair(self, found: Subscription) -> dict[str, Any]:
        """The fields that are wrong, with their right values."""
        changes: dict[str, Any] = {}
        if found.status != "active":
            changes["status"] = "active"
        if text(found.template) is not None:
            changes["template"] = ""
        key = text(found.signing_key)
        if key is not None and key != self.signing_key:
            changes["signingKey"] = self.signing_key
        return changes


async def probe(api: Api, setup: AccountSetup, now: datetime) -> tuple[Finding, ...]:
    """Every linked channel, its list and its subscriptions, read-only."""
    findings: list[Finding] = []
    wanted: list[Wanted] = []
    for key in _channels(setup):
        subject = f"channel {key}"
        try:
            platform, finding = await _channel(api, key, subject)
            findings.append(finding)
            wanted += _wanted(setup, key, platform)
            findings.append(await _readable(api, key, subject, now))
        except SendError as error:
            findings.append(Finding(False, subject, _advised(error)))
    url = _url_finding(setup)
    if url is not None:
        findings.append(url)
    if not wanted:
        return tuple(findings)
    try:
        present = await _subscriptions(api)
    except SendError as error:
        return (*findings, Finding(False, "webhook subscriptions", _advised(error)))
    findings += [_compared(want, present) for want in wanted]
    if any(not item.event_filters and item.url == hook_url(setup) for item in present):
        findings.append(
            Finding(
                False,
                "webhook subscriptions",
                "one without a filter posts to this account as well; remove it at Bird: the two kinds take events "
                "from each other",
            )
        )
    return tuple(findings)


async def register(api: Api, setup: AccountSetup, *, dry_run: bool) -> tuple[Finding, ...]:
    """Create what is missing and repair what is wrong; what is right stays untouched, so it may run at any time.

    Bird does not always show a subscription's signing key; one that is hidden is written again, since it cannot be
    compared.
    """
    url = _url_finding(setup)
    if url is not None:
        return (url,)
    try:
        present = await _subscriptions(api)
    except SendError as error:
        return (Finding(False, "webhook subscriptions", _advised(error)),)
    findings: list[Finding] = []
    for key in _channels(setup):
        try:
            platform, _ = await _channel(api, key, f"channel {key}")
        except SendError as error:
            findings.append(Finding(False, f"channel {key}", _advised(error)))
            continue
        for want in _wanted(setup, key, platform):
            try:
                findings.append(await _settled(api, want, present, dry_run=dry_run))
            except SendError as error:
                findings.append(Finding(False, want.subject, _advised(error)))
    return tuple(findings)


def hook_url(setup: AccountSetup) -> str:
    """Where Bird posts this account's webhooks: the very text that they are signed over."""
    return f"{setup.public_url.rstrip('/')}/hooks/{setup.name}"


def _channels(setup: AccountSetup) -> list[str]:
    return list(dict.fromkeys(end.key for end in setup.ends))


def _wanted(setup: AccountSetup, channel: str, platform: str) -> list[Wanted]:
    key = setup.settings.signing_key[0].reveal()
    return [Wanted(f"{platform}.{kind}", channel, hook_url(setup), key) for kind in KINDS]


def _url_finding(setup: AccountSetup) -> Finding | None:
    if _URL.fullmatch(hook_url(setup)):
        return None
    return Finding(
        False,
        "webhook address",
        f"Bird does not take {hook_url(setup)}: server.public_url has to be https with a host name, without a port",
    )


async def _channel(api: Api, key: str, subject: str) -> tuple[str, Finding]:
    """The channel's platform, which names its events, and whether it is in use. Raises a `SendError`."""
    found = await api.read(f"{api.workspace}/channels/{key}", _CHANNEL)
    platform, status = text(found.platform_id), text(found.status)
    what = " ".join(part for part in (platform, text(found.name), text(found.identifier)) if part)
    if platform is None:
        return "unknown", Finding(False, subject, "Bird does not name its platform")
    if status != "active":
        return platform, Finding(False, subject, f"{what} is {status or 'in no known state'}: activate it at Bird")
    return platform, Finding(True, subject, f"{what} is active")


async def _readable(api: Api, key: str, subject: str, now: datetime) -> Finding:
    """That messages can be listed, and from the time that was asked for (page §5). Raises a `SendError`."""
    start = now - timedelta(minutes=15)
    params = [("direction", "incoming"), ("startAt", stamp(start)), ("limit", "1")]
    listing = await api.read(api.messages(key), _LISTING, params)
    begun = instant(listing.start_at)
    if begun is not None and begun > start + timedelta(seconds=1):
        return Finding(False, subject, f"Bird lists its messages since {stamp(begun)} only: polling may miss some")
    return Finding(True, subject, "its messages can be listed")


async def _subscriptions(api: Api) -> list[Subscription]:
    """All subscriptions of the workspace. Raises a `SendError`."""
    pages = Pages(api, f"{api.administration}/webhook-subscriptions", [], most_pages=20)
    found: list[Subscription] = []
    async for rows in pages.read():
        for row in rows:
            try:
                found.append(msgspec.convert(row, Subscription))
            except msgspec.ValidationError:
                # Of another service, or of a kind yet unknown: not one of ours.
                continue
    return found


def _compared(want: Wanted, present: list[Subscription]) -> Finding:
    fitting = [item for item in present if want.fits(item)]
    if not fitting:
        return Finding(False, want.subject, f"there is none: {_ADVICE}")
    wrong = want.repair(fitting[0])
    if wrong:
        return Finding(False, want.subject, f"wrong {', '.join(wrong)}: {_ADVICE}")
    if len(fitting) > 1:
        return Finding(False, want.subject, f"there are {len(fitting)} of it: remove all but one at Bird")
    return Finding(True, want.subject, "is active")


async def _settled(api: Api, want: Wanted, present: list[Subscription], *, dry_run: bool) -> Finding:
    path = f"{api.administration}/webhook-subscriptions"
    found = next((item for item in present if want.fits(item)), None)
    if found is None:
        if not dry_run:
            await _write(api, "POST", path, want.creation())
        return Finding(True, want.subject, "would be created" if dry_run else "created")
    changes = want.repair(found)
    hidden = text(found.signing_key) is None
    if hidden:
        changes["signingKey"] = want.signing_key
    if not changes:
        return Finding(True, want.subject, "is right")
    if not dry_run:
        await _write(api, "PATCH", f"{path}/{text(found.id)}", changes)
    if hidden and len(changes) == 1:
        return Finding(
            True, want.subject, "is right; its signing key, which Bird hides, " + _verb(dry_run, "set again")
        )
    return Finding(True, want.subject, f"{', '.join(changes)} {_verb(dry_run, 'repaired')}")


def _verb(dry_run: bool, done: str) -> str:
    return f"would be {done}" if dry_run else f"was {done}"


async def _write(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    answer = await api.call(method, path, body)
    if not 200 <= answer.status < 300:
        raise api.refusal(answer)


def _advised(error: SendError) -> str:
    """A failed call as a finding's text: what it was and what to do."""
    advice = {
        "AuthFailed": "check access_key and the access policies of its role",
        "Gone": "check the id; the workspace does not have it",
        "RateLimited": "try again later",
        "NotSent": "try again later",
        "MaybeSent": "run it again: doing it twice changes nothing",
    }.get(type(error).__name__)
    return f"{error.reason}: {advice}" if advice else error.reason
