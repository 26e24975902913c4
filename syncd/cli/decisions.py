"""The commands in which an operator decides: `dead`, `unknown`, `pause`, `resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli.options import (
    AllOption,
    ConfigOption,
    DryRunOption,
    IdArgument,
    IdsArgument,
    JsonOption,
    LinkOption,
    NameArgument,
)
from syncd.cli.performing import perform_with_config
from syncd.model.operation import Kind, Wish

if TYPE_CHECKING:
    from syncd.cli.output import Output
    from syncd.config import Config

dead = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
unknown = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@dead.command("list")
def dead_list(link: LinkOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List what was given up, the oldest first.

    Reads the database only, and needs no daemon.
    """
    return _list("dead", link, config, as_json)


@dead.command("show")
@unknown.command("show")
def show(delivery: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Show one delivery: text, attempts, decisions.

    Reads the database only, and needs no daemon.
    """
    from syncd.cli import held

    return perform_with_config(lambda found, out: held.show_one(found, out, delivery), config, as_json=as_json)


@dead.command("retry")
def dead_retry(
    deliveries: IdsArgument = None,
    every: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Try again, under the reference of the first try.

    However old the message is: `max_age` does not apply to it any more.
    """
    return _decide(Kind.RETRY, deliveries, "dead" if every else None, config, as_json, dry_run)


@dead.command("drop")
def dead_drop(
    deliveries: IdsArgument = None,
    every: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Take off the list for good; the record stays."""
    return _decide(Kind.DROP, deliveries, "dead" if every else None, config, as_json, dry_run)


@unknown.command("list")
def unknown_list(link: LinkOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List what is in doubt, the oldest first.

    Reads the database only, and needs no daemon.
    """
    return _list("unknown", link, config, as_json)


@unknown.command("settle")
def unknown_settle(
    delivery: IdArgument,
    sent: Annotated[
        str | None, typer.Option("--sent", metavar="REMOTE_ID", help="It was sent; the platform's id of it.")
    ] = None,
    resend: Annotated[bool, typer.Option("--resend", help="It was not sent: send it now.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Take it off the list for good.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Decide whether a message was sent.

    Look at the platform first. Later messages of the chat went on meanwhile: one that is sent again arrives out of
    order.
    """
    chosen = [
        kind
        for kind, wanted in (
            (Kind.SETTLE_SENT, sent is not None),
            (Kind.SETTLE_RESEND, resend),
            (Kind.SETTLE_DROP, drop),
        )
        if wanted
    ]
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --sent REMOTE_ID, --resend and --drop")
    return _decide(chosen[0], [delivery], None, config, as_json, dry_run, detail=sent or "")


def pause(
    name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False, dry_run: DryRunOption = False
) -> int:
    """Stop sending on an account or link.

    Receiving goes on; what is to be sent waits, also through restarts, until `resume`.
    """
    return _wish(Wish(Kind.PAUSE, name), config, as_json, dry_run)


def resume(
    name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False, dry_run: DryRunOption = False
) -> int:
    """Go on sending on an account or link.

    Ends a pause caused by a refused key too.
    """
    return _wish(Wish(Kind.RESUME, name), config, as_json, dry_run)


def _list(state: str, link: str | None, config: ConfigOption, as_json: bool) -> int:
    from syncd.cli import held

    return perform_with_config(lambda found, out: held.show_list(found, out, state, link=link), config, as_json=as_json)


def _decide(
    kind: Kind,
    deliveries: list[str] | None,
    all_of: str | None,
    config: ConfigOption,
    as_json: bool,
    dry_run: bool,
    *,
    detail: str = "",
) -> int:
    from syncd.cli import held

    if bool(deliveries) == (all_of is not None):
        raise typer.BadParameter("give ids, or --all")
    return perform_with_config(
        lambda found, out: held.decide(
            found, out, kind, deliveries or [], all_of=all_of, detail=detail, dry_run=dry_run
        ),
        config,
        as_json=as_json,
    )


def _wish(wish: Wish, config: ConfigOption, as_json: bool, dry_run: bool) -> int:
    from syncd.cli import asking

    def do(found: Config, out: Output) -> int:
        if not dry_run:
            return asking.carry_out(found, out, [wish])
        known = wish.subject in found.accounts or found.topology.link(wish.subject) is not None
        obstacle = None if known else "no account or link has this name"
        return asking.show_outcome(out, [asking.planned(wish.subject, obstacle, wish.kind)])

    return perform_with_config(do, config, as_json=as_json)
