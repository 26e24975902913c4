"""`syncd hooks`: the webhook addresses to give to each platform, and giving them where a platform can be told."""

from __future__ import annotations

import asyncio

from syncd.cli.outcome import DONE, FAILED
from syncd.cli.output import Document, Output
from syncd.config import Account, Config
from syncd.daemon.parts import client_session, platforms_of
from syncd.engine.platform import Door, Finding
from syncd.web.hooks import path_of


def show(config: Config, out: Output) -> int:
    """List the whole addresses, secret segments included (the one exception to G12)."""
    document = {"hooks": asyncio.run(rows(config, masked=False))}

    def render(shown: Document) -> None:
        if not shown["hooks"]:
            out.line("no account has a webhook address: add [accounts.NAME]")
        for row in shown["hooks"]:
            out.line(f"{row['id']} ({row['platform']})")
            out.line(f"  {row['url']}")
            out.line(f"  {row['note']}")

    out.show(document, render, whole=("url",))
    return DONE


async def rows(config: Config, *, masked: bool) -> list[Document]:
    """One row for each address; `masked` ones have `[secret]` in place of their secret segment."""
    async with client_session() as session:
        platforms = platforms_of(config, session)
        return [
            _row(config, account, door, masked=masked)
            for name, account in config.accounts.items()
            for door in platforms[name].doors()
        ]


def _row(config: Config, account: Account, door: Door, *, masked: bool) -> Document:
    hidden = Door(door.end, "[secret]" if door.secret is not None else None, door.label)
    return {
        "id": f"{account.name}/{door.label}" if door.label else account.name,
        "account": account.name,
        "link": door.label or None,
        "platform": account.platform,
        "url": config.server.public_url + path_of(account.name, hidden if masked else door),
        "note": _note(account, door, used=bool(config.ends[account.name])),
    }


def _note(account: Account, door: Door, *, used: bool) -> str:
    if not used:
        return "no link uses this account: nothing that comes here is carried"
    if account.plugin.capabilities.registers_hooks:
        return f"`syncd hooks register` enters it at {account.platform}"
    secrecy = ", and show it to nobody else: it is all that authenticates" if door.secret is not None else ""
    what = f"for link {door.label}" if door.label else "once, for all its links"
    return f"enter it at {account.platform} by hand, {what}{secrecy}"


def register(config: Config, out: Output, *, dry_run: bool) -> int:
    """Create or repair the subscriptions of every account that can; idempotent."""
    findings = asyncio.run(_register(config, dry_run=dry_run))
    document = {"dry_run": dry_run, "findings": findings}

    def render(shown: Document) -> None:
        title = "Webhook subscriptions" + (" (nothing was changed)" if dry_run else "")
        empty = "no account can be told its webhook address: enter those of `syncd hooks` by hand"
        finding_table(out, title, shown["findings"], empty=empty)

    out.show(document, render)
    return DONE if all(row["ok"] for row in findings) else FAILED


async def _register(config: Config, *, dry_run: bool) -> list[Document]:
    found: list[Document] = []
    async with client_session() as session:
        for name, platform in platforms_of(config, session).items():
            if config.accounts[name].plugin.capabilities.registers_hooks:
                found += finding_rows(name, await platform.register_hooks(dry_run=dry_run))
    return found


def finding_rows(account: str, findings: tuple[Finding, ...]) -> list[Document]:
    """What a platform found, as rows."""
    return [
        {
            "id": f"{account}/{number}",
            "account": account,
            "ok": finding.ok,
            "subject": finding.subject,
            "detail": finding.detail,
        }
        for number, finding in enumerate(findings, 1)
    ]


def finding_table(out: Output, title: str, findings: list[Document], *, empty: str) -> None:
    """Such rows for people."""
    columns = {"verdict": "", "account": "account", "subject": "subject", "detail": "detail"}
    out.table(title, columns, [row | {"verdict": "ok" if row["ok"] else "FAULT"} for row in findings], empty=empty)
