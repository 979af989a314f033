"""How a request is judged, admitted, held and sent: what all of the client's messages share.

What must be waited for (names to be looked up, an approval) is yielded; see `turns`.
"""

from collections.abc import Generator
from typing import Any

from taskgate.model.action import Request
from taskgate.model.decision import Outcome
from taskgate.model.errors import Denied, OverLimit, Unreadable, UpstreamFault
from taskgate.protocols.gate import Admission
from taskgate.protocols.postgres.conversation import IN_TRANSACTION, AskHold, Conversation
from taskgate.protocols.postgres.effects import makes_names
from taskgate.protocols.postgres.judging import Judged, LookUp, judge_text, request_of
from taskgate.protocols.postgres.pipeline import Expected
from taskgate.protocols.postgres.session_names import Portal
from taskgate.protocols.postgres.turns import Held, Turns, Wait
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import SessionNames


class Admitting(Turns):
    """Judges texts in this session, and lets requests run."""

    def __init__(self, shared: Conversation) -> None:
        super().__init__(shared)
        self._making: Expected | None = None

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
        c.texts.counts.misses += 1
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
            prepared_facts={n: p.meant for n, p in c.names.prepared.items() if p.meant is not None},
        )
        judged = yield from judge_text(text, catalog, names, c.gate, self._now)
        if judged.catalog is c.resolution.catalog and not c.resolution.dirty:
            c.texts.put(judged)
        return judged

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
        c = self._c
        if c.status == IN_TRANSACTION or c.pipeline.open:
            yield LookUp(frozenset())
            if c.resolution.frozen:
                raise Denied(
                    "a held statement cannot wait in a REPEATABLE READ or SERIALIZABLE "
                    "transaction: what its names mean could change unseen meanwhile",
                    rule=admission.decision.rule,
                    hint="send it in a READ COMMITTED transaction, or by itself",
                )
        c.out.commands.append(AskHold(admission, request))
        yield Held(admission.number)

    def _judge_again(
        self, before: Judged, admission: Admission, request: Request, portal: Portal | None = None
    ) -> Generator[Wait, Any, Judged]:
        """After a hold: what was approved must still be what would run, and the grant hold."""
        c = self._c
        c.resolution.begin_anew()
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

    def _sent(self, judged: Judged, expected: Expected) -> None:
        c = self._c
        if judged.tainted:
            c.names.tainted = True
        if judged.quiet:
            return
        if any(makes_names(s.effects) for s in judged.analysis.statements):
            self._making = expected
        c.resolution.sent(judged.analysis.statements)
