"""Every cap of the gate, with its unit in its name. Over a cap the gate refuses; it never
forwards unexamined."""

KIB = 1024
MIB = 1024 * KIB

# A statement's text, and any frame that must be whole before it is judged.
MAX_STATEMENT_BYTES = 8 * MIB
# A bound parameter set; bulk values travel by COPY.
MAX_BIND_BYTES = 64 * MIB
# One upstream frame (a row); PostgreSQL's own cap on a value is 1 GiB.
MAX_ROW_BYTES = 256 * MIB
# A row that a mask rewrites must be whole in memory.
MAX_MASKED_ROW_BYTES = 16 * MIB
MAX_STARTUP_BYTES = 10_000
MAX_PASSWORD_BYTES = 16 * KIB
# Bytes waiting for a peer that does not read; past it, the other side is not read either.
MAX_WAITING_BYTES = 256 * KIB
# Frames from a client that wait for an earlier one's verdict.
MAX_PENDING_FRAMES = 10_000
MAX_PENDING_BYTES = 16 * MIB
# Replies expected from the resource in one pipeline.
MAX_PIPELINE = 100_000
MAX_PREPARED_STATEMENTS = 10_000
MAX_PORTALS = 10_000
MAX_PARSE_DEPTH = 500
MAX_STATEMENTS_PER_MESSAGE = 1_000
MAX_VIEW_DEPTH = 16
MAX_CACHED_DECISIONS = 10_000
MAX_CACHED_NAMES = 50_000
# How stale a name's resolution may be where it changes behind the gate's back.
RESOLUTION_TTL_S = 5.0
MAX_SESSIONS = 10_000
# Connections that have not signed in yet; more than this are refused at once.
MAX_UNAUTHENTICATED = 500
MAX_CONNECTIONS_PER_SOURCE_PER_S = 200
LOGIN_TIMEOUT_S = 30.0
UPSTREAM_CONNECT_TIMEOUT_S = 10.0
MAX_HOLDS_PER_SESSION = 1
MAX_HOLDS = 1_000
HOLD_NOTICE_EVERY_S = 20.0
REVOCATION_POLL_S = 0.25
DRAIN_S = 30.0
MAX_EVENT_BYTES = 1 * MIB
MAX_RECORDED_TEXT_BYTES = 256 * KIB
MAX_RECORDED_PARAMETER_BYTES = 4 * KIB
MAX_RECORDED_ROWS = 1_000
MAX_SEARCH_RESULTS = 10_000
