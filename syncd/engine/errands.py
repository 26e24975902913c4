"""What a delivery comes to at its platform: a piece of a message, a file, a change, a receipt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from syncd.engine.claims import ToSend
from syncd.engine.homes import Home
from syncd.engine.platform import Platform
from syncd.model.capabilities import Capabilities
from syncd.model.files import File
from syncd.model.parts import KeptFile, in_words, pieces, refusal, with_quote
from syncd.model.retry import Verdict
from syncd.model.sending import Author, Change, MaybeSent, NotSent, Outgoing, Receipt, Rejected, Sent
from syncd.model.topology import Link, Topology
from syncd.model.work import Duty, Op, extension_of

NO_LINK = Verdict("dead", False, None, "its link is not configured any more")

Shelf = Callable[[KeptFile], File]
"""Gives a file that is kept, as it can be sent."""


def bare_shelf(kept: KeptFile) -> File:
    """Where nothing is kept: the file cannot be sent."""
    raise Rejected(f"{kept.name} is not kept here")


class Errands:
    """Carries out deliveries at one platform. Never repeats what may have been done."""

    def __init__(self, platform: Platform, topology: Topology, shelf: Shelf) -> None:
        self._platform = platform
        self._topology = topology
        self._shelf = shelf

    async def carry_out(self, claim: ToSend) -> Sent:
        """Do it. Raises a `SendError`."""
        if claim.duty.op is not Op.MESSAGE:
            return await self._change(claim)
        outgoing = self.outgoing(claim.duty, claim.sessionid, claim.spelling, claim.home)
        if outgoing is None:
            raise Rejected(NO_LINK.why)
        if outgoing.copy_of is not None:
            try:
                return await self._platform.send(outgoing)
            except Rejected:
                outgoing = replace(outgoing, copy_of=None)  # Certainly not done: then the file itself.
        if outgoing.file is not None:
            try:
                return await self._platform.send(outgoing)
            except Rejected as refused:
                outgoing = self._without_file(claim.duty, outgoing, refused.reason)
        return await self._platform.send(outgoing)

    def outgoing(
        self, duty: Duty, sessionid: str | None, spelling: str | None, home: Home | None = None
    ) -> Outgoing | None:
        """The send that a delivery of a message is; None where its link is not configured any more."""
        link = self._topology.link(duty.link)
        if link is None:
            return None
        extension = extension_of(duty.target)
        author_extension = None
        if extension is not None and duty.author not in (Author.CONTACT, Author.SYNCD):
            author_extension = duty.author_extension or link.desk.users[0]
        outgoing = Outgoing(
            reference=duty.reference,
            end=link.channel.key if extension is None else link.desk.key,
            contact=duty.contact,
            spelling=spelling,
            text=duty.text,
            said_at=duty.said_at,
            author=duty.author,
            extension=extension,
            author_extension=author_extension,
            sessionid=sessionid,
            name=duty.name,
            history=duty.history,
        )
        if not duty.kinds and not duty.quote and not duty.part and len(duty.text) <= _able(link, duty).max_text:
            return outgoing
        return self._piece(duty, outgoing, _able(link, duty), home)

    def _piece(self, duty: Duty, outgoing: Outgoing, able: Capabilities, home: Home | None) -> Outgoing:
        planned = pieces(with_quote(duty.text, duty.quote), duty.kinds, able)
        # An edit in the queue may have left fewer than there were; the last one then says it again rather than nothing.
        piece = planned[min(duty.part, len(planned) - 1)]
        if piece.file is None:
            return replace(outgoing, text=piece.text)
        kept = next((file for file in duty.files if file.place == piece.file), None)
        if kept is None:
            return replace(outgoing, text=piece.text or f"[{duty.kinds[piece.file]}]")
        reason = refusal(kept, able)
        if reason:
            return replace(outgoing, text=in_words(kept, reason, piece.text))
        copy_of = home.messageid if home is not None else None
        return replace(outgoing, text=piece.text, file=self._shelf(kept), copy_of=copy_of)

    def _without_file(self, duty: Duty, outgoing: Outgoing, reason: str) -> Outgoing:
        assert outgoing.file is not None
        kept = next((file for file in duty.files if file.name == outgoing.file.name), duty.files[0])
        words = in_words(kept, "refused there", outgoing.text)
        return replace(outgoing, file=None, text=words)

    async def _change(self, claim: ToSend) -> Sent:
        duty, home = claim.duty, claim.home
        link = self._topology.link(duty.link)
        if link is None:
            raise Rejected(NO_LINK.why)
        if home is None or home.messageid is None:
            raise Rejected("its copy is not known by an id")
        planned = pieces(with_quote(duty.text, duty.quote), duty.kinds, _able(link, duty))
        change = Change(
            end=link.channel.key if extension_of(duty.target) is None else link.desk.key,
            messageid=home.messageid,
            sessionid=home.sessionid,
            text=planned[min(duty.part, len(planned) - 1)].text,
        )
        try:
            match duty.op:
                case Op.EDIT:
                    return await self._platform.edit(change)
                case Op.DELETE:
                    return await self._platform.delete(change)
                case Op.DELIVERED:
                    return await self._platform.receipt(change, Receipt.DELIVERED)
                case _:
                    return await self._platform.receipt(change, Receipt.READ)
        except MaybeSent as doubt:
            # To do it once more does no harm.
            raise NotSent(doubt.reason, http_status=doubt.http_status, answer=doubt.answer) from doubt


def _able(link: Link, duty: Duty) -> Capabilities:
    return link.channel.able if extension_of(duty.target) is None else link.desk.able
