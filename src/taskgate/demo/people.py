"""Who there is in the demo."""

from taskgate.demo.gate import Person
from taskgate.model.identity import IdentityKind

ANA = Person("ana", "analyst, answers support calls too", ("analysts", "support"))
ENG = Person("eng", "engineer on call", ("engineers",))
LEA = Person("lea", "lead, approves", ("data-leads", "ops-leads"))
AUD = Person("aud", "auditor", ("auditors",))
ADM = Person("adm", "administrator", ("admins",))
JOB = Person("job", "the nightly job", ("ci",), IdentityKind.WORKLOAD)

PEOPLE = (ANA, ENG, LEA, AUD, ADM, JOB)
