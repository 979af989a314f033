"""The state store, whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskgate.model.secret import Secret
from taskgate.store.approvals import SqlApprovals
from taskgate.store.audit import SqlAuditIndex
from taskgate.store.bootstrap import SqlBootstrap
from taskgate.store.break_glass import SqlAlerts, SqlBreakGlass
from taskgate.store.database import Database, open_database
from taskgate.store.directory import SqlDirectory
from taskgate.store.factors import SqlFactors
from taskgate.store.grants import SqlGrants
from taskgate.store.known_hosts import SqlKnownHosts
from taskgate.store.leaving import SqlLeaving
from taskgate.store.logins import SqlLogins
from taskgate.store.migrate import migrate
from taskgate.store.once import SqlOnce
from taskgate.store.policies import SqlPolicies
from taskgate.store.secrets import SqlSecrets
from taskgate.store.sessions import SqlSessions
from taskgate.store.ssh_access import SqlSshAccess
from taskgate.store.usage import SqlUsage
from taskgate.store.users import SqlAttempts, SqlUsers


class Store:
    """One part a subject; take the part, not the whole."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.users = SqlUsers(database)
        self.attempts = SqlAttempts(database)
        self.factors = SqlFactors(database)
        self.logins = SqlLogins(database)
        self.once = SqlOnce(database)
        self.grants = SqlGrants(database)
        self.approvals = SqlApprovals(database)
        self.sessions = SqlSessions(database)
        self.secrets = SqlSecrets(database)
        self.known_hosts = SqlKnownHosts(database)
        self.policies = SqlPolicies(database)
        self.audit = SqlAuditIndex(database)
        self.leaving = SqlLeaving(database)
        self.usage = SqlUsage(database)
        self.directory = SqlDirectory(database)
        self.break_glass = SqlBreakGlass(database)
        self.alerts = SqlAlerts(database)
        self.bootstrap = SqlBootstrap(database)
        self.ssh_access = SqlSshAccess(database)

    async def ready(self) -> None:
        """For readiness checks. Raises: StoreUnavailable."""
        await self.grants.last_revocation()

    async def close(self) -> None:
        await self._database.close()


@asynccontextmanager
async def open_store(url: str, password: Secret | None = None) -> AsyncIterator[Store]:
    """Opens, and brings the tables up to date. Raises: BadConfig, StoreUnavailable."""
    database = await open_database(url, password)
    try:
        await migrate(database)
        yield Store(database)
    finally:
        await database.close()
