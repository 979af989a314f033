"""One gateway a server version for all cases of this folder that attack a running one."""

from collections.abc import Iterator

import pytest

from taskgate.model import limits
from tests.end_to_end.conftest import Setting
from tests.evasions.live import LEAD, TASKS, WORLD, Live
from tests.gates import running_gate
from tests.patience import PATIENCE_S
from tests.servers import Server


@pytest.fixture(scope="session")
def live(pg: Server) -> Iterator[Live]:
    """The gateway, its tasks, and a small database with secrets in it."""
    database = pg.new_database("evasions")
    pg.run(WORLD, database=database)
    with running_gate(pg, database, TASKS, people=(LEAD,)) as gate:
        found = Live(Setting(gate, pg, database))
        yield found
        found.close()
    pg.drop_database(database)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of a test's own may be as slow as the machine is."""
    monkeypatch.setattr(limits, "PROVIDER_TIMEOUT_S", PATIENCE_S)
