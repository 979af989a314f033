"""What the client asks: each message judged, and only then sent on.

A handler is a method named after its message (see `turns` for how it waits).

Source: PostgreSQL documentation, "Message Flow".
"""

from collections.abc import Generator
from hashlib import sha256
from typing import Any

from taskgate.model.action import Request
from taskgate.model.decision import Outcome
from taskgate.model.errors import (
    Denied,
    OverLimit,
    TaskgateError,
    Unreadable,
    UpstreamFault,
)
from taskgate.protocols.gate import Admission
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.conversation import AskHold, Conversation
from taskgate.protocols.postgres.errors import Sqlstate
from taskgate.protocols.postgres.judging import Judged, judge_text, judged_of, request_of
from taskgate.protocols.postgres.parameters import readable_parameters
from taskgate.protocols.postgres.pipeline import Expected, Run, Step
from taskgate.protocols.postgres.session_names import Portal, Prepared
from taskgate.protocols.postgres.turns import Drained, Held, Turns, Wait, Work
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import SessionNames


class Requests(Turns):
    """The client's half of the exchange."""

    def __init__(self, shared: Conversation) -> None:
        super().__init__(shared)
        self._handlers = {
            tags.QUERY: self._query,
            tags.PARSE: self._parse,
            tags.BIND: self._bind,
            tags.DESCRIBE: self._describe,
            tags.EXECUTE: self._execute,
            tags.CLOSE: self._close,
            tags.FLUSH: self._flush,
            tags.SYNC: self._sync,
            tags.COPY_DATA: self._copy,
            tags.COPY_DONE: self._copy,
            tags.COPY_FAIL: self._copy,
            tags.FUNCTION_CALL: self._function_call,
        }

    # Judging.

    def _known(self, text: str) -> Judged | None:
        c = self._c
        if c.resolution.dirty:
            return None
        return c.texts.get(text, c.resolution.catalog, c.gate.policy_version(), self._now)

    def _judge(self, text: str) -> Generator[Wait, Any, Judged]:
        c = self._c
        known = self._known(text)
        if known is not None:
            return known
        # With the search path in doubt nothing already known may be used: an empty catalog makes
        # the analysis ask for every name, and the answer says which catalog counts now.
        catalog = c.resolution.catalog
        if c.resolution.dirty:
            catalog = Catalog(schemas=(), user="")
        catalog.expire(self._now)
        names = SessionNames(
            prepared={n: p.script for n, p in c.names.prepared.items()},
            cursors={n: p.facts[-1] for n, p in c.names.portals.items() if p.facts},
            settled=not c.resolution.changed_in_transaction,
        )
        judged = yield from judge_text(text, catalog, names, c.gate, self._now)
        if judged.catalog is c.resolution.catalog and not c.resolution.dirty:
            c.texts.put(judged)
        return judged

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
        c.pipeline.push(Expected(Step.QUERY, run=run))
        self._sent(judged)
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
        judged = self._known(message.text)
        if judged is not None:
            self._run_parse(frame, message.name, judged)
            return None
        return self._parse_slowly(frame, message)

    def _parse_slowly(self, frame: bytes, message: messages.Parse) -> Work:
        judged = yield from self._judge_or_record(message.text)
        self._run_parse(frame, message.name, judged)

    def _run_parse(self, frame: bytes, name: str, judged: Judged) -> None:
        c = self._c
        if judged.decision.outcome is Outcome.DENY:
            self._admit(self._request(judged), judged)
        error = c.gate.prepared(judged.text, judged.decision)
        if error is not None:
            raise error
        prepared = Prepared(judged.text, judged.script, judged)
        c.pipeline.push(Expected(Step.PARSE, undo=c.names.prepare(name, prepared)))
        c.out.to_upstream.append(frame)
        if judged.decision.masks:
            self._describe_for_masks(name, prepared)

    def _describe_for_masks(self, name: str, prepared: Prepared) -> None:
        """The masks need to know the result's columns, whether or not the client asks."""
        c = self._c
        prepared.describing = True
        prepared.fields = None
        c.pipeline.push(Expected(Step.DESCRIBE_STATEMENT, internal=True, prepared=prepared))
        c.out.to_upstream.append(messages.encode_describe(messages.STATEMENT, name))

    def _bind(self, frame: bytes) -> Work | None:
        message = messages.parse_bind(frame)
        prepared = self._c.names.prepared.get(message.statement)
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
        before = prepared.judged
        if before.session_bound:
            yield Drained()
        judged = yield from self._judge_or_record(prepared.text)
        prepared.judged = judged
        if not judged.same_meaning(before):
            prepared.fields = None
            prepared.describing = False
        self._run_bind(frame, message, prepared)

    def _run_bind(self, frame: bytes, message: messages.Bind, prepared: Prepared) -> None:
        c = self._c
        judged = prepared.judged
        if judged.decision.outcome is Outcome.DENY:
            self._admit(self._request(judged), judged)
        if judged.decision.masks and prepared.fields is None and not prepared.describing:
            self._describe_for_masks(message.statement, prepared)
        portal = Portal(
            facts=judged.analysis.statements,
            judged=judged,
            prepared=prepared,
            formats=message.result_formats,
            parameters=readable_parameters(message),
            parameter_digest=sha256(frame).digest()
            if judged.decision.outcome is Outcome.HOLD
            else b"",
            cycle=c.pipeline.cycles_sent,
        )
        undo = c.names.open_portal(message.portal, portal)
        c.pipeline.push(Expected(Step.BIND, undo=undo))
        c.out.to_upstream.append(frame)

    def _execute(self, frame: bytes) -> Work | None:
        name = messages.parse_execute(frame).portal
        portal = self._c.names.portals.get(name)
        if portal is None:
            raise Sqlstate("34000", f'portal "{name}" does not exist')
        if portal.admitted:
            error = self._c.gate.go_on(portal.admitted)
            if error is not None:
                raise error
            self._run_execute(frame, portal, portal.admitted)
            return None
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
            if not judged.same_meaning(portal.judged):
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
        c.pipeline.push(Expected(Step.EXECUTE, run=run))
        self._sent(portal.judged)
        c.out.to_upstream.append(frame)

    def _describe(self, frame: bytes) -> None:
        c = self._c
        message = messages.parse_describe(frame)
        name = message.name
        if message.kind == messages.STATEMENT:
            prepared = c.names.prepared.get(name)
            if prepared is None:
                raise Sqlstate("26000", f'prepared statement "{name}" does not exist')
            c.pipeline.push(Expected(Step.DESCRIBE_STATEMENT, prepared=prepared))
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
        if message.kind == messages.STATEMENT:
            undo = c.names.deallocate(name) if name != "*" else None
        else:
            undo = c.names.close_portal(name) if name != "*" else None
        c.pipeline.push(Expected(Step.CLOSE, undo=undo))
        c.out.to_upstream.append(frame)

    def _flush(self, frame: bytes) -> None:
        self._c.out.to_upstream.append(frame)

    def _sync(self, frame: bytes) -> None:
        self.skipping = False
        self._c.pipeline.push(Expected(Step.SYNC))
        self._c.out.to_upstream.append(frame)

    def _copy(self, frame: bytes) -> None:
        """COPY data of an admitted statement goes through; any other is dropped, as PostgreSQL
        drops what a client still sends after a COPY has failed."""
        if self._copying_in():
            self._c.out.to_upstream.append(frame)

    def _copying_in(self) -> bool:
        for expected in reversed(list(self._c.pipeline)):
            if expected.step is Step.SYNC or expected.internal:
                continue
            run = expected.run
            return run is not None and any(
                s.effects.copy is not None and s.effects.copy.direction == "from"
                for s in run.judged.analysis.statements
            )
        return False

    # Admission.

    def _request(self, judged: Judged) -> Request:
        return request_of(judged, self._c.where)

    def _portal_request(self, portal: Portal) -> Request:
        return request_of(portal.judged, self._c.where, portal.parameters, portal.parameter_digest)

    def _admit(self, request: Request, judged: Judged) -> Admission:
        admission = self._c.gate.admit(request, judged.decision)
        if admission.outcome is Outcome.DENY:
            raise admission.error or Denied("refused")
        return admission

    def _judge_or_record(self, text: str) -> Generator[Wait, Any, Judged]:
        try:
            judged = yield from self._judge(text)
        except (Unreadable, OverLimit, UpstreamFault) as error:
            self._c.gate.refuse(text, error)
            raise
        return judged

    def _hold(self, admission: Admission, request: Request) -> Generator[Wait, Any, None]:
        self._c.out.commands.append(AskHold(admission, request))
        yield Held(admission.number)

    def _judge_again(
        self, before: Judged, admission: Admission, request: Request, portal: Portal | None = None
    ) -> Generator[Wait, Any, Judged]:
        """After a hold: what was approved must still be what would run, and the grant hold."""
        c = self._c
        c.resolution.dirty = True
        judged = yield from self._judge_or_record(before.text)
        now_request = request_of(
            judged,
            c.where,
            request.parameters,
            portal.parameter_digest if portal is not None else b"",
        )
        if judged.decision.outcome is Outcome.DENY:
            self._admit(now_request, judged)
        if now_request.digest != request.digest:
            error = Denied(
                "what the statement names, or the policy, changed while it was held, so the "
                "approval no longer covers it",
                rule=before.decision.rule,
                hint="send the statement again to ask anew",
            )
            c.gate.refuse(before.text, error)
            raise error
        ended = c.gate.go_on(admission.number)
        if ended is not None:
            raise ended
        return judged

    def _sent(self, judged: Judged) -> None:
        c = self._c
        if judged.tainted:
            c.names.tainted = True
        c.resolution.sent(judged.analysis.statements)
