"""`python -m syncd.simulators`: Ringotel and iSlash, simulated, with two users and a customer who say what is typed.

Each line `contact: TEXT`, `9003: TEXT` or `9004: TEXT` is said by that person; whatever appears in the users' chats and
on the customer's phone is printed. For trying syncd on one machine: see docs/first-link.md. Keys are `first-…`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from syncd.simulators.islash import ISlashSimulator
from syncd.simulators.ringotel import RingotelSimulator

ORGANIZATION = "17076444409917912922"
USERS = ("9003", "9004")
CONTACT = "85251234567"
SESSION = "first-islash-session"
GAP = 0.1
"""Seconds between two looks at the chats."""


async def play(ringotel: int, islash: int, syncd: str) -> None:
    """Listen on two ports and post webhooks to `syncd`, until standard input ends."""
    desk = RingotelSimulator("first-ringotel-key", hook_url=f"{syncd}/hooks/office")
    phone = ISlashSimulator(token="first-islash-token", sessions={SESSION: "whatsapp"}, retries_hooks=True)  # noqa: S106 - nobody's
    phone.hook_urls[SESSION] = f"{syncd}/hooks/islash/first-islash-hook"
    await desk.start(ringotel)
    await phone.start(islash)
    desk.add_organization(USERS, orgid=ORGANIZATION)
    showing = asyncio.create_task(_show(desk, phone))
    _print("Ringotel and iSlash are up")
    while line := await asyncio.to_thread(sys.stdin.readline):
        who, _, text = line.strip().partition(": ")
        if who == "contact":
            phone.contact_says(SESSION, CONTACT, text)
        elif who in USERS:
            desk.user_says(who, CONTACT, text)
        elif line.strip():
            _print(f"write `contact: TEXT`, or `{USERS[0]}: TEXT`")
    showing.cancel()
    await desk.stop()
    await phone.stop()


async def _show(desk: RingotelSimulator, phone: ISlashSimulator) -> None:
    told: set[str] = set()
    while True:
        seen = [
            (one.id, f"{user}'s chat", one.sender, one.content) for user in USERS for one in desk.chat(user, CONTACT)
        ]
        seen += [(one.sid, "the phone", "desk", one.text) for one in phone.sent(SESSION, CONTACT)]
        for messageid, where, sender, text in seen:
            if messageid not in told:
                told.add(messageid)
                _print(f"{where:12} {sender}: {text}")
        await asyncio.sleep(GAP)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the arguments, and play."""
    parser = argparse.ArgumentParser(prog="python -m syncd.simulators", description=__doc__)
    parser.add_argument("--ringotel", type=int, default=9101, metavar="PORT", help="where Ringotel listens (9101)")
    parser.add_argument("--islash", type=int, default=9102, metavar="PORT", help="where iSlash listens (9102)")
    parser.add_argument("--syncd", default="http://127.0.0.1:8080", metavar="URL", help="where syncd takes webhooks")
    given = parser.parse_args()
    asyncio.run(play(given.ringotel, given.islash, given.syncd.rstrip("/")))


if __name__ == "__main__":
    main()
