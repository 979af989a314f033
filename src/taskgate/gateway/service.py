"""The gateway as one process: built from a configuration, run, drained, stopped.

What is opened first is closed last: store, recordings, policy, grants and holds, then the
listeners. Some duties must never lapse (revocation, sweeping, marks); if one of them ends, the
gateway ends with it, closed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp

from taskgate import __version__
from taskgate.gateway.alerts import Alerts
from taskgate.gateway.bootstrap import Bootstrap
from taskgate.gateway.break_glass import BreakGlasses
from taskgate.gateway.config import Config, Listener, ScimProvider
from taskgate.gateway.explaining import Explaining
from taskgate.gateway.foundation import (
    Foundation,
    SshKey,
    State,
    lay_foundation,
    ssh_key_of,
)
from taskgate.gateway.holding import Holding
from taskgate.gateway.holds import Holds
from taskgate.gateway.indexing import Feeder
from taskgate.gateway.leaving import Leaving
from taskgate.gateway.listener_tls import listener_tls
from taskgate.gateway.opening import Backing, Rights
from taskgate.gateway.outside import Events, open_outside
from taskgate.gateway.parts import Connected, DoorAddress, Parts, People, Reach, Scim
from taskgate.gateway.postgres_listener import Door, PostgresListener
from taskgate.gateway.postgres_opening import PostgresOpening
from taskgate.gateway.provisioning import Provisioning, ScimDoor
from taskgate.gateway.records import Records
from taskgate.gateway.secrets import Secrets
from taskgate.gateway.sessions import Sessions
from taskgate.gateway.signals import Readiness, Signals
from taskgate.gateway.ssh_access import SshAccess
from taskgate.gateway.ssh_asking import DeviceSignIns
from taskgate.gateway.ssh_listener import GateKey, SshListener, SshWays
from taskgate.gateway.ssh_proofs import SshProofs
from taskgate.gateway.ssh_trust import HostKeys
from taskgate.gateway.ssh_upstream import UpstreamKeys
from taskgate.gateway.tls import UpstreamContexts
from taskgate.gateway.use_map import UseMap
from taskgate.gateway.watchman import Duty, Watchman
from taskgate.gateway.web import WebServer
from taskgate.gateway.webhook import Webhook
from taskgate.identity.delegation import Delegation
from taskgate.identity.grants import Grants
from taskgate.identity.listing import Directory, Listing, NobodyLocal
from taskgate.identity.local import LocalUsers
from taskgate.identity.logins import Logins
from taskgate.identity.passkeys import Passkeys, Site
from taskgate.identity.passwords import Passwords
from taskgate.identity.proof import ProvenGrants
from taskgate.identity.proven_logins import ProvenLogins
from taskgate.identity.second_factors import SecondFactors
from taskgate.identity.ssh_access import HeldGrants
from taskgate.model.approval import Approval, ApprovalState
from taskgate.model.errors import BadConfig, TaskgateError
from taskgate.model.event import EventKind
from taskgate.protocols.ssh.driver.listening import public_key_of

_log = structlog.get_logger(__name__)
_ALPN = ("postgresql",)
# After the drain: time for sessions to put their recordings away.
_PUT_AWAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the application is made from. `ready` answers /readyz; `closing` is set once streams
    should end. `secure` says that browsers should insist on TLS; `direct` that no proxy stands in
    between, so that a loopback address means this machine."""

    parts: Parts
    explaining: Explaining
    signals: Signals
    ready: Callable[[], Coroutine[Any, Any, Readiness]]
    closing: asyncio.Event
    secure: bool
    direct: bool
    console: bool


@dataclass(frozen=True, slots=True)
class Running:
    """What has started: for whoever started it, and for tests. `ssh_port` is 0 where nobody comes
    in by SSH."""

    parts: Parts
    base_url: str
    api_port: int
    postgres_port: int
    ssh_port: int


AppFactory = Callable[[Wiring], ASGIApp]


async def run(
    config: Config, make_app: AppFactory, started: Callable[[Running], None] | None = None
) -> int:
    """Runs until SIGTERM or SIGINT; the process's exit status, 0 for a clean stop.

    The first signal drains for `config.drain_s`; a second one ends at once. SIGHUP reads the
    policy and the listeners' certificates again.
    Raises: BadConfig, NotRecorded, StoreUnavailable where it cannot start.
    """
    async with AsyncExitStack() as stack:
        foundation = await stack.enter_async_context(lay_foundation(config))
        service = _Service(config, foundation)
        await service.build(stack, make_app)
        return await service.run(started)


async def _scim_door(secrets: Secrets, scim: ScimProvider) -> ScimDoor:
    """Raises: BadConfig where the secret is missing or too short to be one."""
    door = ScimDoor(secrets, scim.token.ref(), scim.subject)
    await door.ensure()
    return door


async def _webhook(stack: AsyncExitStack, config: Config, state: State) -> Webhook | None:
    """Raises: BadConfig where its secret is missing."""
    wanted = config.alerts.webhook
    if wanted is None:
        return None
    secret = await state.secrets.get(wanted.secret.ref()) if wanted.secret is not None else None
    webhook = Webhook(wanted.url, secret)
    stack.push_async_callback(webhook.close)
    return webhook


class _Startable(Protocol):
    async def start(self) -> int: ...


async def _listening(door: _Startable, title: str, section: str, at: Listener) -> int:
    """The port on which a listener has begun. Raises: BadConfig."""
    try:
        return await door.start()
    except OSError as error:
        raise BadConfig(
            f"{title} clients cannot be listened for on {at.address} port {at.port}:"
            f" {error.strerror or error}",
            hint=f"another process may have it; {section}.address and {section}.port say where",
        ) from None


class _Service:
    """The parts above the foundation. One catch point: `run`."""

    def __init__(self, config: Config, foundation: Foundation) -> None:
        self._config = config
        self._foundation = foundation
        self._signals = Signals()
        self._stop = asyncio.Event()
        self._stopped_by = 0
        self._closing = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._duties: dict[str, Duty] = {}
        self._reloads: set[asyncio.Task[None]] = set()

    async def build(self, stack: AsyncExitStack, make_app: AppFactory) -> None:
        """Makes every part; nobody is let in yet. Raises: BadConfig, StoreUnavailable."""
        config, foundation = self._config, self._foundation
        state = foundation.state
        clock, store = state.clock, state.store
        passwords = Passwords()
        stack.callback(passwords.close)
        directory = None
        if config.scim is not None:
            directory = Directory(store.directory, (config.scim.issuer,), config.scim.group_prefix)
        local = config.local_users.enabled
        listing: Listing | None = directory if local else NobodyLocal(directory)
        grants = Grants(store.grants, foundation.policies, clock, listing)
        sessions = self._sessions = Sessions(clock)
        grants.on_end(sessions.grants_ended)
        holds = Holds(store.approvals, grants, foundation.policies, clock, config.node)
        holds.on_change(self._count_holds())
        await stack.enter_async_context(grants.watching())
        await stack.enter_async_context(holds.watching())
        await store.sessions.end_node(config.node, clock.now(), "the gateway died")

        api_tls = None
        if not config.api.plaintext:
            api_tls = listener_tls(config, config.api.tls, clock.now())
        postgres_tls = listener_tls(config, config.postgres.tls, clock.now(), _ALPN)
        self._web = WebServer(config.api, api_tls)
        stack.callback(self._web.close)
        base_url = config.base_url(self._web.port)
        proven = ProvenLogins(store.logins, grants, clock)
        outside = await stack.enter_async_context(
            open_outside(config, foundation, grants, proven, base_url)
        )

        contexts = UpstreamContexts()
        events = Events(foundation.journal, grants, clock)
        rights = Rights(
            grants=grants,
            policies=foundation.policies,
            holding=Holding(holds, clock, lambda id_: f"{base_url}/console/approvals/{id_}"),
            sessions=sessions,
            clock=clock,
            direct=outside.direct,
            held=HeldGrants(
                grants,
                ProvenGrants(grants, store.grants, foundation.policies, clock),
                foundation.policies,
                clock,
            ),
            events=events,
        )
        backing = Backing(
            journal=foundation.journal,
            store=store.sessions,
            secrets=state.secrets,
            signals=self._signals,
            mask_key=foundation.mask_key,
            node=config.node,
        )
        listener = config.postgres
        door = Door(
            listener.address, listener.port, postgres_tls, listener.plaintext, outside.offers
        )
        opening = PostgresOpening(rights, backing, contexts)
        self._postgres = PostgresListener(door, opening, sessions, clock)
        postgres_port = await _listening(self._postgres, "PostgreSQL", "postgres", listener)

        ssh_host_key = ssh_upstream_ca = ssh_ca = ""
        ssh_port = 0
        ssh_access = None
        self._ssh: SshListener | None = None
        if config.ssh is not None:
            key = await ssh_key_of(state, SshKey.HOST)
            ssh_host_key = public_key_of(key)
            authority = await ssh_key_of(state, SshKey.UPSTREAM_CA)
            ssh_upstream_ca = public_key_of(authority)
            upstream_keys = UpstreamKeys(
                authority, HostKeys(store.known_hosts, clock), tuple(config.ssh.source_addresses)
            )
            gate_ca = await ssh_key_of(state, SshKey.GATE_CA)
            ssh_ca = public_key_of(gate_ca)
            client_ca = await ssh_key_of(state, SshKey.CLIENT_CA)
            ssh_access = SshAccess(
                store.ssh_access, client_ca, config.ssh.certificate_s, events, clock
            )
            proofs = SshProofs(store.ssh_access, public_key_of(client_ca), clock)
            self._duties["follow what SSH sessions rest on"] = proofs.watch
            device = DeviceSignIns(outside.sign_ins, events, clock)
            gate_key = GateKey(key, gate_ca, config.ssh_names)
            self._ssh = SshListener(
                config.ssh, SshWays(gate_key, proofs, device), upstream_keys, rights, backing
            )
            self._duties["stay certified for SSH"] = self._ssh.stay_certified
            ssh_port = await _listening(self._ssh, "SSH", "ssh", config.ssh)

        feeder = Feeder(config.audit_dir, store.audit, config.state_dir)
        tls = tuple(one for one in (api_tls, postgres_tls) if one is not None)
        records = Records(foundation.journal, store.audit, feeder, clock)
        alerts = Alerts(store.alerts, self._signals, clock, await _webhook(stack, config, state))
        break_glasses = BreakGlasses(
            store.break_glass, grants, foundation.policies, records, alerts, clock
        )
        bootstrap = self._bootstrap = Bootstrap(
            store.bootstrap, foundation.policies, records, alerts, clock
        )
        self._watchman = Watchman(
            foundation, grants, sessions, feeder, tls, self._signals, break_glasses
        )
        host, told_port = config.endpoint(listener, postgres_port)
        doors = {"postgres": DoorAddress(host, told_port, tls=True)}
        if config.ssh is not None:
            doors["ssh"] = DoorAddress(*config.endpoint(config.ssh, ssh_port), tls=False)
        issuers = directory.issuers if directory is not None else ()
        use_map = UseMap(store.usage, store.grants, foundation.policies, records, clock, issuers)
        leaving = Leaving(store.leaving, grants, holds, use_map, records, clock)
        scim = None
        if config.scim is not None and directory is not None:
            scim = Scim(
                Provisioning(store.directory, directory, leaving, grants, records, clock),
                await _scim_door(state.secrets, config.scim),
            )
        site = Site.of(base_url)
        second = SecondFactors(
            store.factors, state.secrets, f"taskgate {urlsplit(base_url).netloc}"
        )
        parts = Parts(
            reach=Reach(
                base_url, doors, postgres_tls.ca_pem, ssh_host_key, ssh_upstream_ca, ssh_ca
            ),
            clock=clock,
            people=People(
                LocalUsers(store.users, store.attempts, passwords, second, enabled=local),
                Logins(store.logins, clock, listing),
                grants,
                Delegation(store.grants, grants, foundation.policies, clock),
                leaving,
                use_map,
                break_glasses,
                bootstrap,
                scim,
                Passkeys(store.factors, store.users, site) if site is not None else None,
                ssh_access,
            ),
            holds=holds,
            sessions=Connected(sessions, store.sessions),
            policies=foundation.policies,
            records=records,
            alerts=alerts,
            secrets=state.secrets,
            known_hosts=store.known_hosts,
            outside=outside,
        )
        wiring = Wiring(
            parts=parts,
            explaining=Explaining(state.secrets, contexts),
            signals=self._signals,
            ready=self._watchman.ready,
            closing=self._closing,
            # Not for a mere localhost, where other things answer without TLS.
            secure=config.public_url.startswith("https:"),
            direct=not (config.api.plaintext or config.api.trusted_proxies),
            console=config.api.console,
        )
        self._app = make_app(wiring)
        self._running = Running(parts, base_url, self._web.port, postgres_port, ssh_port)

    async def run(self, started: Callable[[Running], None] | None) -> int:
        """Serves, and stops in order; the exit status."""
        records = self._running.parts.records
        facts = {"version": __version__, "node": self._config.node}
        await records.log(EventKind.GATEWAY_STARTED, None, facts)
        await self._offer_code()
        self._tasks["serve the API"] = asyncio.create_task(self._web.serve(self._app))
        for name, duty in {**self._watchman.duties, **self._duties}.items():
            self._tasks[name] = asyncio.create_task(duty(), name=name)
        self._tasks["follow the first administrator"] = asyncio.create_task(
            self._bootstrap.follow()
        )
        self._listen_for_signals()
        try:
            answering = asyncio.create_task(self._web.wait_started())
            await asyncio.wait(
                {answering, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED
            )
            answering.cancel()
            _log.info(
                "gateway.started",
                api=self._running.base_url,
                postgres_port=self._running.postgres_port,
                ssh_port=self._running.ssh_port,
                policy=self._foundation.policies.current.version,
                version=__version__,
            )
            if started is not None:
                started(self._running)
            died = await self._until_stopped()
            await self._drain(0.0 if died else self._config.drain_s)
        finally:
            await self._end_tasks()
            self._unlisten()
        with suppress(TaskgateError):
            await records.log(EventKind.GATEWAY_STOPPED, None, facts | {"reason": died})
        _log.info("gateway.stopped")
        return 1 if died else 0

    async def _offer_code(self) -> None:
        """Where nobody can administer, whoever sees the terminal or the log may begin."""
        users = self._running.parts.people.users
        known = await users.list() if users.enabled else ()
        await self._bootstrap.start(known, outside=bool(self._config.oidc or self._config.saml))

    async def _until_stopped(self) -> str:
        """Waits for a signal; or for a duty that ended, whose name it gives."""
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait(
            {stop, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED
        )
        stop.cancel()
        for name, task in self._tasks.items():
            if task in done:
                error = task.exception() if not task.cancelled() else None
                self._signals.internal_errors.inc()
                _log.critical("gateway.duty_ended", duty=name, exc_info=error)
                return f"a duty ended: {name}"
        return ""

    async def _drain(self, deadline_s: float) -> None:
        self._watchman.drain()
        self._signals.ready.set(0)
        _log.info("gateway.draining", sessions=len(self._sessions), deadline_s=deadline_s)
        # Whoever comes meanwhile is told why not, instead of finding nobody.
        cut = await self._sessions.drain(deadline_s)
        await self._postgres.stop()
        if self._ssh is not None:
            await self._ssh.stop()
        if cut:
            _log.warning("gateway.cut", sessions=cut)
        try:
            async with asyncio.timeout(_PUT_AWAY_S):
                await self._sessions.wait_empty()
        except TimeoutError:
            _log.error("gateway.sessions_left", sessions=len(self._sessions))
        # The next start may have another clock.
        await self._watchman.bury()
        self._closing.set()
        self._web.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * _PUT_AWAY_S):
                await asyncio.wait({self._tasks["serve the API"]})

    async def _end_tasks(self) -> None:
        for task in (*self._tasks.values(), *self._reloads):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._reloads, return_exceptions=True)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    def _unlisten(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def _on_stop(self, number: int) -> None:
        if self._stop.is_set():
            # Whoever asks twice means it. What was written stays; the next start recovers.
            _log.warning("gateway.ended_at_once")
            os._exit(128 + number)
        self._stop.set()

    def _on_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """SIGHUP: what is wrong with the new policy is logged, and the old one counts on."""
        policies = self._foundation.policies
        before = policies.current.version
        try:
            if policies.folder is not None:
                checked = await policies.checked(None)
                if checked.version != before:
                    facts = {"name": checked.version, "before": before, "reason": "SIGHUP"}
                    await self._running.parts.records.log(EventKind.POLICY_APPLIED, None, facts)
                await policies.put_in_force(checked, "SIGHUP")
            else:
                await policies.load()
            _log.info("policy.loaded", before=before, version=policies.current.version)
        except TaskgateError as error:
            _log.error("policy.not_loaded", why=error.message)
        await asyncio.to_thread(self._watchman.renew)

    def _count_holds(self) -> Callable[[Approval], None]:
        waiting: dict[str, float] = {}
        signals = self._signals

        def changed(approval: Approval) -> None:
            if approval.state is ApprovalState.WAITING:
                waiting.setdefault(approval.id, approval.asked_at)
            elif waiting.pop(approval.id, None) is not None and approval.closed_at is not None:
                signals.hold_seconds.observe(max(0.0, approval.closed_at - approval.asked_at))
            signals.holds_waiting.set(len(waiting))

        return changed
