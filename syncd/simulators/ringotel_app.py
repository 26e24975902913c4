"""The users of a simulated Ringotel account: what they do in their app, and what they see there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any, Literal

from syncd.simulators.base import Hook, Simulator
from syncd.simulators.ringotel_desk import FILE, Desk, Message, Organization, Session, Shown, User, chat_key
from syncd.simulators.ringotel_files import StoredFile, guessed_type

Params = dict[str, Any]


class App(Simulator):
    """The part of `RingotelSimulator` that is not its API."""

    def __init__(self, api_key: str, hook_url: str, first_id: int) -> None:
        super().__init__()
        self.api_key = api_key
        """What calls must carry, and what webhooks carry."""
        self.hook_url = hook_url
        """Where webhooks go; empty: nowhere."""
        self.desk = Desk(first_id)
        self.escape_hooks = False
        """Webhooks in ASCII, all else as \\u escapes; False: UTF-8 (lone surrogates are escapes in any case)."""
        self.authors: Literal["extension", "userid", "number"] = "extension"
        """How webhooks name who wrote, beside the `userid`: `from` is the extension; there is no `from`; `from` is the
        shared number in its group chats, and the extension elsewhere."""

    # --- who is there ---

    def add_organization(
        self, users: Iterable[str] = (), *, orgid: str | None = None, domain: str | None = None
    ) -> str:
        """A new organization with these extensions. Its id."""
        orgid = orgid or self.desk.long_id()
        domain = domain or f"org{orgid}"
        self.desk.organizations[orgid] = self.desk.domains[domain] = Organization(orgid, domain, domain)
        for extension in users:
            self.add_user(extension, organization=orgid)
        return orgid

    def add_user(self, extension: str, *, organization: str | None = None, name: str | None = None) -> str:
        """A new user. Its id."""
        where = self._organization(organization)
        user = User(self.desk.long_id(), extension, name or extension)
        where.users[extension] = where.users_by_id[user.id] = user
        return user.id

    def add_number(self, number: str, users: Iterable[str] = (), *, organization: str | None = None) -> None:
        """A shared number (DID) with these extensions behind it."""
        where = self._organization(organization)
        where.numbers[number] = [where.users[extension].id for extension in users]

    # --- what happens in the app ---

    def user_says(
        self,
        extension: str,
        contact: str,
        text: str,
        organization: str | None = None,
        sessionid: str | None = None,
        *,
        type: int | str = 1,  # noqa: A002 - the member's name
        form: Literal["to", "senderid", "legacy"] | None = None,
        delay: float = 0.0,
        copies: int = 1,
    ) -> str:
        """The user writes to a contact, in the chat's open session or in a new one, or in `sessionid`. The messageid.

        `form` of the webhook: `to`, `senderid` (default where the session was made with one), `legacy` (2022: no ids).
        """
        session = self._session_of(extension, contact, organization, sessionid, opaque=form == "senderid")
        message = self._put(session, extension, text, int(type))
        params = self.told(message, session)
        params["type"] = type
        if form is not None and form != "senderid" and "senderid" in params:
            params["to"] = params.pop("senderid")
        if form == "senderid" and "to" in params:
            params["senderid"] = params.pop("to")
        if form == "legacy":
            params = {k: v for k, v in params.items() if k not in ("messageid", "sessionid")} | {"ownerid": "1627"}
        self.emit_event("message", params, delay=delay, copies=copies)
        return message.id

    def user_sends_file(
        self,
        extension: str,
        contact: str,
        data: bytes,
        name: str = "photo.jpg",
        content_type: str | None = None,
        organization: str | None = None,
        sessionid: str | None = None,
        *,
        delay: float = 0.0,
        copies: int = 1,
    ) -> str:
        """The user sends a file, which is served from here at an address that nobody can guess. The messageid.

        `content_type`: None for what the name stands for.
        """
        session = self._session_of(extension, contact, organization, sessionid)
        file = self.desk.keep_file(StoredFile(name, content_type or guessed_type(name), data))
        message = self._put(session, extension, self.url + file.path, FILE, file)
        self.emit_event("message", self.told(message, session), delay=delay, copies=copies)
        return message.id

    def user_edits(self, messageid: str, text: str, *, delay: float = 0.0, copies: int = 1) -> None:
        """The user changes a message."""
        message = self.desk.messages[messageid]
        message.content, message.edited = text, True
        self.emit_event("updated", {"messageid": messageid, "content": text}, delay=delay, copies=copies)

    def user_deletes(self, messageid: str, *, delay: float = 0.0, copies: int = 1) -> None:
        """The user deletes a message."""
        self.desk.messages[messageid].deleted = True
        self.emit_event("deleted", {"messageid": messageid}, delay=delay, copies=copies)

    def app_delivered(self, messageid: str) -> None:
        """The user's app got a message."""
        message = self.desk.messages[messageid]
        if message.direction == "incoming":
            message.get_delivered()
        self.emit_event("delivered", {"messageid": messageid, "sessionid": message.sessionid})

    def app_read(self, sessionid: str, messageid: str | None = None) -> None:
        """The user opened the chat, when `messageid` was the last in it (None: the webhook does not say)."""
        upto = None if messageid is None else self.desk.messages[messageid]
        self.desk.read(self.desk.sessions[sessionid], "incoming", upto)
        self.emit_event("read", {"sessionid": sessionid} | ({} if messageid is None else {"messageid": messageid}))

    def app_typing(self, sessionid: str, state: str = "on") -> None:
        """The user is typing."""
        self.emit_event("typing", {"sessionid": sessionid, "state": state})

    def emit_event(
        self, method: str, params: Any, *, api_key: str | None = None, delay: float = 0.0, copies: int = 1
    ) -> asyncio.Task[None] | None:
        """Post any webhook, also one that Ringotel never sent. None without a `hook_url`."""
        if not self.hook_url:
            return None
        return self.emit(self.hook(method, params, api_key=api_key), delay=delay, copies=copies)

    def hook(self, method: str, params: Any, *, api_key: str | None = None) -> Hook:
        """A webhook as Ringotel writes it: its only credential is the key in the body."""
        value = {"method": method, "params": params, "api_key": self.api_key if api_key is None else api_key}
        try:
            body = json.dumps(value, ensure_ascii=self.escape_hooks).encode()
        except UnicodeEncodeError:
            body = json.dumps(value).encode()
        return Hook(self.hook_url, body, {"Content-Type": "application/json"})

    def close_session(self, sessionid: str) -> None:
        """The platform closes a session; nothing tells of it."""
        self.desk.sessions[sessionid].open = False

    # --- what there is to see ---

    def chat(
        self,
        extension: str,
        contact: str,
        organization: str | None = None,
        *,
        by: Literal["arrival", "time"] = "arrival",
    ) -> list[Message]:
        """All that the user sees in the chat with a contact, over all its sessions; deleted messages are not seen.

        In the order of arrival, or by the times shown.
        """
        key = chat_key(self._organization(organization).id, extension, contact)
        seen = [message for message in self.desk.chats.get(key, ()) if not message.deleted]
        return seen if by == "arrival" else sorted(seen, key=lambda message: message.shown_at)

    def shown(
        self,
        extension: str,
        contact: str,
        organization: str | None = None,
        *,
        by: Literal["arrival", "time"] = "arrival",
    ) -> list[Shown]:
        """The same chat line by line: text or file, side, ticks, edits; what was deleted is there, and says so."""
        key = chat_key(self._organization(organization).id, extension, contact)
        kept = self.desk.chats.get(key, [])
        return [
            Shown.of(message)
            for message in (kept if by == "arrival" else sorted(kept, key=lambda message: message.shown_at))
        ]

    def sessions_of(self, extension: str, contact: str, organization: str | None = None) -> list[Session]:
        """Every session that the chat ever had, oldest first."""
        key = chat_key(self._organization(organization).id, extension, contact)
        return [s for s in self.desk.sessions.values() if chat_key(s.organization, s.extension, s.contact) == key]

    def _organization(self, orgid: str | None) -> Organization:
        return next(iter(self.desk.organizations.values())) if orgid is None else self.desk.organizations[orgid]

    def _session_of(
        self, extension: str, contact: str, organization: str | None, sessionid: str | None, *, opaque: bool = False
    ) -> Session:
        """The session that a user writes in."""
        where = self._organization(organization)
        if sessionid is not None:
            return self.desk.session(where.id, sessionid)
        found = self.desk.open_of(where.id, extension, contact)
        return found or self.desk.start(where.id, extension, contact, "user", opaque=opaque)

    def _put(
        self, session: Session, extension: str, content: str, kind: int, file: StoredFile | None = None
    ) -> Message:
        """What a user wrote."""
        messageid, now = self.desk.short_id(), time.time()
        message = Message(
            messageid, session.id, extension, session.contact, content, None, "outgoing", now, kind, file=file
        )
        self.desk.keep(message)
        return message

    def told(self, message: Message, session: Session) -> Params:
        """`params` of the webhook for a message: whoever wrote it, `from` is the user and `to` the contact."""
        outgoing = message.direction == "outgoing"
        extension = message.sender if outgoing else session.extension
        user = self.desk.organizations[session.organization].users.get(extension)
        named = {"from": extension}
        if self.authors == "userid":
            named = {}
        elif self.authors == "number" and session.extension in self.desk.organizations[session.organization].numbers:
            named = {"from": session.extension}
        return {
            "senderid" if session.opaque else "to": session.contact,
            **named,
            "orgid": session.organization,
            **({} if user is None else {"userid": user.id}),
            "messageid": message.id,
            "sessionid": session.id,
            "content": message.content,
            "type": message.type,
        }
