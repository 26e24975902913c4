"""`syncd check`: what the config says, in full, and with `--live` whether the world agrees."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import syncd
from syncd.cli import hooks
from syncd.cli.live import look
from syncd.cli.outcome import DONE, FAILED
from syncd.cli.output import Document, Output
from syncd.config import Account, Config, Problem
from syncd.model.topology import Link
from syncd.store.database import Location

_IN_DOUBT = {"hold": "held", "resend": "sent again"}


def command(config: Config, out: Output, *, live: bool) -> int:
    """Explain a config that is valid (an invalid one never comes here)."""
    document = asyncio.run(_explain(config))
    if live:
        document["findings"] = asyncio.run(look(config))
        document["ok"] = all(finding["ok"] for finding in document["findings"])
    out.show(document, lambda shown: _render(shown, out))
    return DONE if document["ok"] else FAILED


async def _explain(config: Config) -> Document:
    return {
        "ok": True,
        "version": syncd.__version__,
        "config": str(config.path),
        "server": {
            "listen": str(config.server.listen),
            "public_url": config.server.public_url,
            "admin_listen": str(config.server.admin_listen),
        },
        "database": {
            "kind": config.database.kind,
            "location": str(Location.of(config.database.url.reveal())),
            "migrate": config.database.migrate,
        },
        "limits": {"drain_seconds": config.server.drain_seconds, "max_concurrent": config.server.max_concurrent},
        "accounts": [_account(account) for account in config.accounts.values()],
        "links": [_link(link) for link in config.topology.links],
        "hooks": await hooks.rows(config, masked=True),
        "warnings": [_told(warning) for warning in config.warnings],
    }


def _told(warning: Problem) -> Document:
    return {"id": warning.path, "message": warning.message}


def _account(account: Account) -> Document:
    interval: timedelta | None = getattr(account.settings, "poll_interval", None)
    return {
        "id": account.name,
        "platform": account.platform,
        "role": account.plugin.capabilities.role,
        "rate": account.rate,
        "poll_seconds": interval.total_seconds() if interval and account.plugin.capabilities.polls else None,
    }


def _link(link: Link) -> Document:
    return {
        "id": link.name,
        "users": list(link.desk.users),
        "desk": {"account": link.desk.account, "organization": link.desk.key},
        "channel": {"account": link.channel.account, "end": link.channel.key},
        "region": link.region,
        "on_unknown": link.on_unknown,
        "max_age_seconds": link.max_age.total_seconds(),
        "edits": link.edits,
        "failure_notice": link.failure_notice,
    }


def _render(shown: Document, out: Output) -> None:
    server, database, limits = shown["server"], shown["database"], shown["limits"]
    out.line(f"{shown['config']} is valid (syncd {shown['version']})")
    out.line()
    out.line(f"listen     {server['listen']}, as {server['public_url']}")
    out.line(f"admin      {server['admin_listen']}")
    out.line(f"database   {database['location']}, {'upgraded' if database['migrate'] else 'not upgraded'} at start")
    out.line(f"limits     {limits['max_concurrent']} webhooks at once, {limits['drain_seconds']:g} s to drain")
    out.table(
        "Accounts",
        {"id": "id", "platform": "platform", "role": "role", "rate": "requests/s", "poll_seconds": "polls every (s)"},
        [row | {"rate": f"{row['rate']:g}"} for row in shown["accounts"]],
        empty="none: add [accounts.NAME]",
    )
    out.line()
    out.line("Links")
    for row in shown["links"]:
        desk, channel = row["desk"], row["channel"]
        out.line(f"  {row['id']}: region {row['region']}, doubts are {_IN_DOUBT[row['on_unknown']]}")
        out.line(f"    users    {', '.join(row['users'])} ({desk['account']}, organization {desk['organization']})")
        out.line(f"    channel  {channel['end']} ({channel['account']})")
    if not shown["links"]:
        out.line("  none: add [[links]]")
    out.table("Webhooks", {"id": "id", "url": "address"}, shown["hooks"], empty="none")
    notes = {"id": "key", "message": "what to do"}
    if shown["warnings"]:
        out.table("Warnings", notes, shown["warnings"], empty="")
    if "findings" in shown:
        hooks.finding_table(out, "Live", shown["findings"], empty="nothing to look at")
