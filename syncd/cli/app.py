"""The commands, their arguments and options. What they do stands in a module each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

import syncd
from syncd.cli import decisions
from syncd.cli.options import ConfigOption, DryRunOption, JsonOption
from syncd.cli.outcome import USAGE
from syncd.cli.output import Output, open_streams
from syncd.cli.performing import perform, perform_with_config
from syncd.model.resync import Mode

# The base of all of the parser's complaints; Typer shows only this child of it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="syncd",
    help="Keeps Ringotel chats in step with Bird and iSlash channels.",
    epilog="Exit codes: 0 done, 1 failed in part or whole, 64 usage, 69 daemon or database not reachable, "
    "78 configuration.",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class HooksAction(StrEnum):
    """What `hooks` does besides listing."""

    REGISTER = "register"


def start(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, run their command; the exit code. Never raises for a mistake in the arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    open_streams()
    try:
        result = typer.main.get_command(app).main(args=given, prog_name="syncd", standalone_mode=False)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        if "--json" in given:
            Output(as_json=True).failed(" ".join(error.format_message().split()))  # type: ignore[attr-defined]
        return USAGE
    except typer.Abort:
        return 1
    return result if isinstance(result, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        Output(as_json=False).write(f"syncd {syncd.__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def run(config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Run the daemon.

    It logs to standard error. SIGTERM or SIGINT drains and ends it; a second signal ends it at once.
    """
    from syncd.cli import run as running

    return perform_with_config(running.command, config, as_json=as_json)


@app.command()
def check(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Also call each account, read-only, and look at database, clock and webhooks."),
    ] = False,
) -> int:
    """Validate the config and explain what it does."""
    from syncd.cli import check as checking

    return perform_with_config(lambda found, out: checking.command(found, out, live=live), config, as_json=as_json)


@app.command()
def migrate(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    to: Annotated[str, typer.Option("--to", metavar="REV", help="The schema version to go up to.")] = "head",
    show: Annotated[bool, typer.Option("--show", help="Only show the schema's versions and the present one.")] = False,
    dry_run: DryRunOption = False,
) -> int:
    """Bring the database to the newest schema.

    With SQLite, stop the daemon first.
    """
    from syncd.cli import migrate as migrating

    return perform_with_config(
        lambda found, out: migrating.command(found, out, to=to, show=show, dry_run=dry_run), config, as_json=as_json
    )


@app.command()
def demo(
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="End after the conversation, also on a terminal.")] = False,
) -> int:
    """Play a conversation between simulated platforms.

    Everything runs on this machine, on a temporary database; it needs no config.
    """
    from syncd.cli.demo import demo as show

    return perform(lambda _: show(once, as_json), as_json=as_json)


@app.command()
def hooks(
    action: Annotated[
        HooksAction | None,
        typer.Argument(metavar="register", help="Create or repair the subscriptions where a platform can be told."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With register: say what would be done only.")] = False,
) -> int:
    """Show or register webhook addresses.

    Shows the whole addresses to give to each platform, secret segments included.
    """
    from syncd.cli import hooks as hooking

    if action is HooksAction.REGISTER:
        return perform_with_config(
            lambda found, out: hooking.register(found, out, dry_run=dry_run), config, as_json=as_json
        )
    return perform_with_config(hooking.show, config, as_json=as_json)


@app.command()
def status(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
) -> int:
    """Show accounts, links and what waits.

    Reads the database only, and needs no daemon.
    """
    from syncd.cli import status as looking

    if watch and as_json:
        raise typer.BadParameter("--watch is for people: leave out --watch or --json")
    return perform_with_config(lambda found, out: looking.command(found, out, watch=watch), config, as_json=as_json)


@app.command()
def resync(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A link's name.", show_default=False)],
    contact: Annotated[str | None, typer.Option("--contact", metavar="C", help="Only this contact.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="U", help="Only this user's chats.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="A time, or how long ago (7d).  [default: 30d]")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="The same.  [default: now]")] = None,
    mode: Annotated[
        Mode, typer.Option("--mode", help="history: silently, with original times. live: notifies.")
    ] = Mode.HISTORY,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Put what is missing into users' chats.

    Compares the channel's history, where it has one, and what syncd knows with what each user's chat has. It may be
    interrupted and repeated: the result is that of one run. What no chat has goes to all users of the link.
    """
    from syncd.cli import resync as resyncing

    wish = resyncing.wish_of(link, contact=contact, user=user, since=since, until=until, mode=mode)
    return perform_with_config(
        lambda found, out: resyncing.command(found, out, wish, dry_run=dry_run), config, as_json=as_json
    )


@app.command()
def forget(
    contact: Annotated[
        str, typer.Argument(metavar="CONTACT", help="A number or address, in any spelling.", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Erase a contact's texts, files and number.

    Drops what is still to be sent to or from the contact, keeps anonymous counts, and looks afterwards whether
    anything is left. It cannot be undone. A contact who writes again is new.
    """
    from syncd.cli import forget as forgetting

    if not (yes or dry_run or sys.stdin.isatty()):
        raise typer.BadParameter("it cannot be undone: give --yes, or look with --dry-run first")
    return perform_with_config(
        lambda found, out: forgetting.command(found, out, contact, dry_run=dry_run, yes=yes), config, as_json=as_json
    )


@app.command()
def trace(
    given: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Any message, session or reference id of either side, or a contact.",
            show_default=False,
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="Messages of a contact or session, the latest.")
    ] = 50,
) -> int:
    """Tell every hop of a message, and where it is and why.

    Reads the database only, and needs no daemon.
    """
    from syncd.cli import trace as tracing

    return perform_with_config(
        lambda found, out: tracing.command(found, out, given, limit=limit), config, as_json=as_json
    )


app.add_typer(decisions.dead, name="dead", help="Deliveries that were given up; their payload is kept.")
app.add_typer(decisions.unknown, name="unknown", help="Deliveries whose answer was lost: sent or not?")
app.command()(decisions.pause)
app.command()(decisions.resume)
