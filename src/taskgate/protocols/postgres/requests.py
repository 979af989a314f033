"""What the client asks: each message judged, and only then sent on.

A handler is a method named after its message (see `turns` for how it waits).

Source: PostgreSQL documentation, "Message Flow".
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from taskgate.model.decision import Outcome
from taskgate.model.errors import Denied, ProtocolViolation, TaskgateError
from taskgate.protocols.gate import Admission
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.admitting import Admitting
from taskgate.protocols.postgres.asking import INTERNAL_NAME
from taskgate.protocols.postgres.conversation import IN_TRANSACTION
from taskgate.protocols.postgres.errors import Sqlstate
from taskgate.protocols.postgres.judging import Judged, judged_of
from taskgate.protocols.postgres.parameters import readable_parameters
from taskgate.protocols.postgres.pipeline import Expected, Run, Step
from taskgate.protocols.postgres.session_names import Described, Portal, Prepared
from taskgate.protocols.postgres.turns import Drained, Work

_MAX_NAME_BYTES = 63


class Requests(Admitting):
    """The client's half of the exchange."""

    def _asked(self, tag: int, frame: bytes) -> Work | None:
        handler = _HANDLERS.get(tag)
        if handler is None:
            raise ProtocolViolation(f"a message of type {chr(tag)!r} does not belong here")
        return handler(self, frame)

    # The simple query protocol.

    def _query(self, frame: bytes) -> Work | None:
        text = messages.parse_query(frame).text
        if not self._c.pipeline:
            judged = self._known(text)
            if judged is not None and judged.decision.outcome is not Outcome.HOLD:
                self._run_query(frame, judged, self._admit(self._request(judged), judged))
                return None
        return self._query_slowly(frame, text)

    def _query_slowly(self, frame: bytes, text: str) -> Work:
        yield Drained()
        judged = yield from self._judge_or_record(text)
        request = self._request(judged)
        admission = self._admit(request, judged)
        if admission.outcome is Outcome.HOLD:
            yield from self._hold(admission, request)
            judged = yield from self._judge_again(judged, admission, request)
        self._run_query(frame, judged, admission)

    def _run_query(self, frame: bytes, judged: Judged, admission: Admission) -> None:
        c = self._c
        run = Run(admission.number, judged, started_at=self._now)
        expected = Expected(Step.QUERY, run=run)
        c.pipeline.push(expected)
        self._sent(judged, expected)
        # An implicit transaction of steps before it, without a Sync, ends with it.
        c.resolution.synced(in_transaction=c.status == IN_TRANSACTION)
        c.out.to_upstream.append(frame)

    def _function_call(self, frame: bytes) -> Work | None:
        error = Sqlstate(
            "0A000",
            "the fast-path function call is refused: rule default-deny",
            hint="call the function with SELECT",
        )
        self._c.gate.refuse("FunctionCall", error)
        return self._refuse_drained(error)

    def _refuse_drained(self, error: TaskgateError) -> Work:
        yield Drained()
        raise error

    # The extended query protocol.

    def _parse(self, frame: bytes) -> Work | None:
        message = messages.parse_parse(frame)
        ensure_own(message.name)
        judged = self._known(message.text)
        if judged is not None and not self._taken(message.name):
            self._run_parse(frame, message, judged)
            return None
        return self._parse_slowly(frame, message)

    def _taken(self, name: str) -> bool:
        return bool(name) and name in self._c.names.prepared

    def _parse_slowly(self, frame: bytes, message: messages.Parse) -> Work:
        if self._taken(message.name):
            yield Drained()
            if self._taken(message.name):
                raise Sqlstate("42P05", f'prepared statement "{message.name}" already exists')
        judged = yield from self._judge_or_record(message.text)
        self._run_parse(frame, message, judged)

    def _run_parse(self, frame: bytes, message: messages.Parse, judged: Judged) -> None:
        if judged.decision.outcome is Outcome.DENY:
            self._admit(self._request(judged), judged)
        error = self._c.gate.prepared(judged.text, judged.decision)
        if error is not None:
            raise error
        prepared = Prepared(judged.text, judged.script, judged, types=message.parameter_types)
        self._send_parse(frame, message.name, prepared)

    def _send_parse(
        self, frame: bytes, name: str, prepared: Prepared, *, own: bool = False
    ) -> None:
        c = self._c
        judged = prepared.judged
        prepared.meant = judged.analysis.statements[-1] if judged.analysis.statements else None
        prepared.identity = judged.analysis.identity
        prepared.epoch = c.names.epoch
        prepared.cycle = c.pipeline.cycles_sent
        undo = c.names.prepare(name, prepared)
        c.pipeline.push(Expected(Step.PARSE, internal=own, made=prepared, undo=undo))
        c.out.to_upstream.append(frame)
        if judged.decision.masks:
            self._describe_for_masks(name, prepared)

    def _describe_for_masks(self, name: str, prepared: Prepared) -> None:
        """The masks need to know the result's columns, whether or not the client asks."""
        c = self._c
        prepared.described = Described()
        c.pipeline.push(
            Expected(Step.DESCRIBE_STATEMENT, internal=True, described=prepared.described)
        )
        c.out.to_upstream.append(messages.encode_describe(messages.STATEMENT, name))

    def _in_doubt(self, made: Prepared | Portal | None) -> bool:
        """Whether the resource may hold something else under the name than `made`: it was sent in
        an earlier cycle that may fail yet, or a statement under way makes names."""
        if self._making is not None and not self._making.settled:
            return True
        if made is None or made.confirmed:
            return False
        return made.cycle != self._c.pipeline.cycles_sent

    def _bind(self, frame: bytes) -> Work | None:
        message = messages.parse_bind(frame)
        ensure_own(message.statement)
        ensure_own(message.portal)
        prepared = self._c.names.prepared.get(message.statement)
        if self._in_doubt(prepared) or self._opened(message.portal):
            return self._bind_drained(frame, message)
        return self._bind_to(frame, message, prepared)

    def _opened(self, portal: str) -> bool:
        return bool(portal) and portal in self._c.names.portals

    def _bind_drained(self, frame: bytes, message: messages.Bind) -> Work:
        yield Drained()
        if self._opened(message.portal):
            raise Sqlstate("42P03", f'cursor "{message.portal}" already exists')
        prepared = self._c.names.prepared.get(message.statement)
        work = self._bind_to(frame, message, prepared)
        if work is not None:
            yield from work

    def _bind_to(
        self, frame: bytes, message: messages.Bind, prepared: Prepared | None
    ) -> Work | None:
        if prepared is None:
            raise Sqlstate("26000", f'prepared statement "{message.statement}" does not exist')
        if self._still_good(prepared.judged):
            self._run_bind(frame, message, prepared)
            return None
        return self._bind_slowly(frame, message, prepared)

    def _still_good(self, judged: Judged) -> bool:
        c = self._c
        return (
            not c.resolution.dirty
            and not judged.session_bound
            and judged.current(c.resolution.catalog, c.gate.policy_version(), self._now)
        )

    def _bind_slowly(self, frame: bytes, message: messages.Bind, prepared: Prepared) -> Work:
        if prepared.judged.session_bound:
            yield Drained()
        prepared.judged = yield from self._judge_or_record(prepared.text)
        self._run_bind(frame, message, prepared)

    def _run_bind(self, frame: bytes, message: messages.Bind, prepared: Prepared) -> None:
        c = self._c
        judged = prepared.judged
        if judged.decision.outcome is Outcome.DENY:
            self._admit(self._request(judged), judged)
        if self._means_something_else(prepared):
            prepared = self._parse_again(message.statement, prepared)
        if judged.decision.masks and prepared.described is None:
            self._describe_for_masks(message.statement, prepared)
        portal = Portal(
            facts=judged.analysis.statements,
            judged=judged,
            prepared=prepared,
            described=prepared.described,
            formats=message.result_formats,
            parameters=readable_parameters(message),
            parameter_digest=sha256(frame).digest()
            if judged.decision.outcome is Outcome.HOLD
            else b"",
            cycle=c.pipeline.cycles_sent,
            epoch=c.names.epoch,
        )
        undo = c.names.open_portal(message.portal, portal)
        c.pipeline.push(Expected(Step.BIND, made=portal, undo=undo))
        c.out.to_upstream.append(frame)

    def _means_something_else(self, prepared: Prepared) -> bool:
        """Whether what the resource has ready may not be what the verdict is about. It does not
        read a text again for a new table earlier in the search path, nor for another cursor; a
        change of the objects themselves it notices."""
        judged = prepared.judged
        if judged.session_bound:
            return prepared.epoch != self._c.names.epoch
        if prepared.types is not None:
            return prepared.identity != judged.analysis.identity
        return judged.analysis.statements != (prepared.meant,)

    def _parse_again(self, name: str, prepared: Prepared) -> Prepared:
        """Has the resource read the text anew, in the client's stead and unseen by it."""
        c = self._c
        if prepared.types is None:
            raise Denied(
                f'prepared statement "{name}" was prepared when its names meant something else',
                rule="unknown is refused",
                hint="DEALLOCATE it, and PREPARE it again",
            )
        c.pipeline.push(Expected(Step.CLOSE, internal=True, undo=c.names.deallocate(name)))
        c.out.to_upstream.append(messages.encode_close(messages.STATEMENT, name))
        message = messages.Parse(name, prepared.text, prepared.types)
        again = Prepared(prepared.text, prepared.script, prepared.judged, types=prepared.types)
        self._send_parse(messages.encode_parse(message), name, again, own=True)
        return again

    def _execute(self, frame: bytes) -> Work | None:
        name = messages.parse_execute(frame).portal
        portal = self._c.names.portals.get(name)
        if self._in_doubt(portal):
            return self._execute_drained(frame, name)
        return self._execute_portal(frame, name, portal)

    def _execute_drained(self, frame: bytes, name: str) -> Work:
        yield Drained()
        work = self._execute_portal(frame, name, self._c.names.portals.get(name))
        if work is not None:
            yield from work

    def _execute_portal(self, frame: bytes, name: str, portal: Portal | None) -> Work | None:
        if portal is None:
            raise Sqlstate("34000", f'portal "{name}" does not exist')
        judged = portal.judged
        if judged.decision.policy_version != self._c.gate.policy_version():
            judged = judged_of(
                judged.text,
                judged.script,
                judged.analysis,
                judged.catalog,
                self._c.gate,
                self._now,
            )
            portal.judged = judged
        if portal.admitted and judged.decision.outcome is not Outcome.DENY:
            error = self._c.gate.go_on(portal.admitted)
            if error is not None:
                raise error
            self._run_execute(frame, portal, portal.admitted)
            return None
        if judged.decision.outcome is Outcome.HOLD or judged.session_bound:
            return self._execute_slowly(frame, portal)
        admission = self._admit(self._portal_request(portal), judged)
        self._run_execute(frame, portal, admission.number)
        return None

    def _execute_slowly(self, frame: bytes, portal: Portal) -> Work:
        if portal.judged.session_bound:
            # EXECUTE and FETCH name what earlier steps of the pipeline may have changed.
            yield Drained()
            judged = yield from self._judge_or_record(portal.judged.text)
            if portal.epoch != self._c.names.epoch or not judged.same_meaning(portal.judged):
                raise Denied(
                    "what the statement names changed between Bind and Execute",
                    rule="unknown is refused",
                    hint="bind it again",
                )
            portal.judged = judged
        request = self._portal_request(portal)
        admission = self._admit(request, portal.judged)
        if admission.outcome is Outcome.HOLD:
            yield from self._hold(admission, request)
            portal.judged = yield from self._judge_again(portal.judged, admission, request, portal)
        self._run_execute(frame, portal, admission.number)

    def _run_execute(self, frame: bytes, portal: Portal, number: int) -> None:
        c = self._c
        portal.admitted = number
        run = Run(number, portal.judged, portal, started_at=self._now)
        expected = Expected(Step.EXECUTE, run=run)
        c.pipeline.push(expected)
        self._sent(portal.judged, expected)
        c.out.to_upstream.append(frame)

    def _describe(self, frame: bytes) -> None:
        c = self._c
        message = messages.parse_describe(frame)
        name = message.name
        if message.kind == messages.STATEMENT:
            prepared = c.names.prepared.get(name)
            if prepared is None:
                raise Sqlstate("26000", f'prepared statement "{name}" does not exist')
            c.pipeline.push(Expected(Step.DESCRIBE_STATEMENT))
        else:
            portal = c.names.portals.get(name)
            if portal is None:
                raise Sqlstate("34000", f'portal "{name}" does not exist')
            c.pipeline.push(Expected(Step.DESCRIBE_PORTAL))
        c.out.to_upstream.append(frame)

    def _close(self, frame: bytes) -> None:
        c = self._c
        message = messages.parse_close(frame)
        name = message.name
        ensure_own(name)
        if message.kind == messages.STATEMENT:
            undo = c.names.deallocate(name) if name != "*" else None
        else:
            undo = c.names.close_portal(name) if name != "*" else None
        c.pipeline.push(Expected(Step.CLOSE, undo=undo))
        c.out.to_upstream.append(frame)

    def _flush(self, frame: bytes) -> None:
        self._c.out.to_upstream.append(frame)

    def _sync(self, frame: bytes) -> None:
        c = self._c
        self.skipping = False
        c.resolution.synced(in_transaction=c.status == IN_TRANSACTION)
        c.pipeline.push(Expected(Step.SYNC))
        c.out.to_upstream.append(frame)

    def _copy(self, frame: bytes) -> None:
        """COPY data of an admitted statement goes through; any other is dropped, as PostgreSQL
        drops what a client still sends after a COPY has failed."""
        if self._copying_in():
            self._c.out.to_upstream.append(frame)

    def _copying_in(self) -> bool:
        newest = self._c.pipeline.newest
        run = newest.run if newest is not None else None
        return run is not None and any(
            s.effects.copy is not None and s.effects.copy.direction == "from"
            for s in run.judged.analysis.statements
        )


# One table for all sessions: each of thousands would have its own bound methods otherwise.
_HANDLERS: Final[dict[int, Callable[[Requests, bytes], Work | None]]] = {
    tags.QUERY: Requests._query,
    tags.PARSE: Requests._parse,
    tags.BIND: Requests._bind,
    tags.DESCRIBE: Requests._describe,
    tags.EXECUTE: Requests._execute,
    tags.CLOSE: Requests._close,
    tags.FLUSH: Requests._flush,
    tags.SYNC: Requests._sync,
    tags.COPY_DATA: Requests._copy,
    tags.COPY_DONE: Requests._copy,
    tags.COPY_FAIL: Requests._copy,
    tags.FUNCTION_CALL: Requests._function_call,
}


def ensure_own(name: str) -> None:
    """Raises: Sqlstate for the name of a statement or portal that may be another's: one that the
    gate uses itself, or that the resource would cut. It keeps NAMEDATALEN - 1 bytes, and takes two
    names alike that differ after those."""
    if name == INTERNAL_NAME:
        raise Sqlstate("42939", f'the name "{name}" is the gate\'s own', hint="use another name")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise Sqlstate(
            "42622",
            f"the name of a statement or portal is {len(name.encode())} bytes long; at most "
            f"{_MAX_NAME_BYTES} count",
            hint="use shorter names",
        )
