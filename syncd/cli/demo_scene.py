"""Who is in the demo's story, what each of them must see, and what they really see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncd.cli.demo_stage import ISLASH_SESSION, USERS, Stage
from syncd.cli.demo_telling import Telling
from syncd.model.notice import MARK
from syncd.simulators.ringotel_desk import Shown

ANNA: Final = "+12025550143"
"""Writes by SMS, through Bird."""
CHUN: Final = "85251234567"
"""Writes by WhatsApp, through iSlash, which knows contacts without a `+`."""

MAPPING: Final = """
    SELECT mapping.message, link, account, contact, mapping.extension, sessionid, messageid, part,
           direction, origin, status, mapping.created_at, mapping.updated_at, message.body AS text, message.files
    FROM mapping JOIN message ON message.id = mapping.message
    ORDER BY message.id, mapping.origin DESC, mapping.extension IS NOT NULL, mapping.extension, part
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a user's chat: words, or a file."""

    side: str
    """`contact` or `user`."""
    text: str = ""
    file: str = ""
    """The hash of its bytes."""

    @classmethod
    def of(cls, shown: Shown) -> Line:
        """As the app shows it."""
        return cls(shown.side, shown.text, "" if shown.file is None else shown.file.sha256)


class Scene:
    """People, and the eyes of the story. Whatever waits raises `Failed` where it waits in vain."""

    def __init__(self, stage: Stage, telling: Telling) -> None:
        self._stage = stage
        self._telling = telling
        self.things_said = 0
        """By people, each counted once."""
        self.things_added = 0
        """By syncd itself."""
        self._wanted: dict[str, dict[str, list[Line]]] = {who: {user: [] for user in USERS} for who in (ANNA, CHUN)}
        """By contact and user: all that must stand in the chat, in this order, and nothing else."""

    def _expect(self, contact: str, *lines: Line) -> None:
        """Somebody says something, which must then stand in the chats of all users."""
        self.things_said += 1
        for wanted in self._wanted[contact].values():
            wanted.extend(lines)

    def _expect_notice(self, user: str, contact: str, text: str) -> None:
        """syncd itself says something, to one user."""
        self.things_added += 1
        self._wanted[contact][user].append(Line("contact", text))

    def _expect_instead(self, contact: str, old: Line, new: Line) -> None:
        """What somebody said is changed, of which syncd sends the contact a note."""
        self.things_added += 1
        for wanted in self._wanted[contact].values():
            wanted[wanted.index(old)] = new

    async def _contact_writes_sms(self, text: str) -> None:
        stage = self._stage
        self._telling.says(pretty(ANNA), text)
        self._expect(ANNA, Line("contact", text))
        stage.bird.contact_says(stage.sms_channel, ANNA, text)
        await stage.bird.hooks_taken()

    def _contact_writes_whatsapp(self, text: str) -> None:
        self._telling.says(pretty(CHUN), text)
        self._expect(CHUN, Line("contact", text))
        self._stage.islash.contact_says(ISLASH_SESSION, CHUN, text)

    def _user_writes(self, user: str, contact: str, text: str) -> None:
        self._telling.says(user, text)
        self._expect(contact, Line("user", text))
        self._stage.ringotel.user_says(user, contact, text)

    def _chat(self, user: str, contact: str) -> list[Shown]:
        return self._stage.ringotel.shown(user, contact)

    async def _everybody_has(self, contact: str) -> None:
        """Each user's chat holds what was said: all of it, once, in order."""
        wanted = self._wanted[contact]

        def chats() -> dict[str, list[Line]]:
            return {user: [Line.of(one) for one in self._chat(user, contact)] for user in USERS}

        await self._stage.see(f"the chats with {contact} hold {wanted}", chats, lambda seen: seen == wanted)

    async def _phone(self, contact: str, count: int) -> list[str]:
        """The texts that a contact got; so many, not one more."""
        stage = self._stage

        def texts() -> list[str]:
            if contact == ANNA:
                return stage.bird.texts(stage.sms_channel, ANNA)
            return [one.text for one in stage.islash.sent(ISLASH_SESSION, CHUN)]

        return await stage.see(f"{contact} has {count} messages", texts, lambda seen: len(seen) == count)

    def _tell_chats(self, contact: str, *, last: int = 1) -> None:
        """The last lines of each user's chat."""
        for user in USERS:
            chat = self._chat(user, contact)
            for place, shown in enumerate(chat[-last:], len(chat) - last + 1):
                self._telling.stands(f"{user}'s chat", spoken(shown), count=place)

    def _number(self, query: str, *parameters: object) -> int:
        rows = self._stage.rows(query, *parameters)
        return int(next(iter(rows[0].values())) or 0) if rows else 0

    def _events(self, state: str, reason: str) -> int:
        return self._number("SELECT count(*) FROM event WHERE state = ? AND reason LIKE ?", state, f"{reason}%")

    def _delivery(self, text: str, target: str) -> dict[str, Any]:
        query = "SELECT delivery.* FROM delivery JOIN message ON message.id = message WHERE body = ? AND target = ?"
        rows = self._stage.rows(query, text.encode(), target)
        return rows[0] if rows else {}

    def _waiting(self, text: str) -> int:
        """Copies of a message that were tried, and whose next try is not this very moment."""
        soon = (datetime.now(UTC) + timedelta(milliseconds=40)).isoformat(timespec="microseconds")
        return self._number(
            "SELECT count(*) FROM delivery JOIN message ON message.id = message JOIN lane ON lane.id = lane_id"
            " WHERE body = ? AND state = 'ready' AND attempts > 0 AND due_at > ?",
            text.encode(),
            soon.replace("+00:00", "Z"),
        )

    def _mapping(self) -> list[dict[str, Any]]:
        rows = self._stage.rows(MAPPING)
        for row in rows:
            words, files = (row["text"] or b"").decode("utf-8", "surrogatepass"), row.pop("files")
            row["text"] = " ".join(filter(None, [words, *(f"[{kind}]" for kind in files.split(",") if kind)]))
            row["origin"] = bool(row["origin"])
        return rows


def spoken(shown: Shown) -> str:
    """A line of a chat, for people."""
    who = "customer" if shown.side == "contact" else shown.author
    if shown.file is not None:
        return f"{who}: [{shown.file.name}, {shown.file.size} bytes]"
    if shown.text.startswith(MARK):
        return shown.text
    return f"{who}: “{shown.text}”{' (edited)' if shown.edited else ''}"


def pretty(contact: str) -> str:
    """A number, for people."""
    digits = contact.removeprefix("+")
    if digits.startswith("1"):
        return f"+1 {digits[1:4]} {digits[4:7]} {digits[7:]}"
    return f"+{digits[:3]} {digits[3:7]} {digits[7:]}"
