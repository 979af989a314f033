"""Every cap of the gate, with its unit in its name. Over a cap the gate refuses; it never
forwards unexamined."""

KIB = 1024
MIB = 1024 * KIB

# A statement's text, and any frame that must be whole before it is judged.
# Parsing holds up every session of the process for as long as it takes.
MAX_STATEMENT_BYTES = 1 * MIB
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
# Messages of one client that are handled before others have their turn.
MAX_FRAMES_PER_TURN = 500
# Replies expected from the resource in one pipeline.
MAX_PIPELINE = 100_000
MAX_PREPARED_STATEMENTS = 10_000
MAX_PORTALS = 10_000
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
# Sources whose connections are counted; the one silent longest is forgotten first.
MAX_SOURCES_COUNTED = 10_000
LOGIN_TIMEOUT_S = 30.0
UPSTREAM_CONNECT_TIMEOUT_S = 10.0
MAX_HOLDS_PER_SESSION = 1
MAX_HOLDS = 1_000
# The same over all nodes, as far as approvers are told of them at once.
MAX_WAITING_HOLDS = 10_000
HOLD_NOTICE_EVERY_S = 20.0
REVOCATION_POLL_S = 0.25
DRAIN_S = 30.0
MAX_EVENT_BYTES = 1 * MIB
MAX_RECORDED_TEXT_BYTES = 256 * KIB
MAX_RECORDED_PARAMETER_BYTES = 4 * KIB
MAX_RECORDED_ROWS = 1_000
MAX_SEARCH_RESULTS = 10_000
# A page of a recording, as it is written; the event that goes beyond it is its last.
MAX_PAGE_BYTES = 4 * MIB

# Live grants of one person, live tokens of one grant, live API sign-ins of one person.
MAX_GRANTS_PER_PERSON = 100
MAX_TOKENS_PER_GRANT = 50
MAX_LOGINS_PER_PERSON = 50
MAX_CACHED_TOKENS = 10_000
# How long a checked token is believed without asking the store again.
TOKEN_CACHE_S = 5.0
MAX_REASON_CHARS = 1_000
MAX_REMEMBERED_ENDS = 100_000
# A node that has not heard of revocations for so long refuses what it cannot check.
REVOCATION_BLIND_S = 1.0
HOLD_POLL_S = 0.25
# What an approver is asked to read; more than a person can is not approvable.
MAX_HELD_BYTES = 256 * KIB
MAX_STANDING_S = 8 * 3600.0
MAX_STANDING_USES = 1_000
MAX_HOLD_S = 24 * 3600.0
# Password checks under way or waiting, all users together (each takes 64 MiB while it runs).
MAX_PASSWORD_CHECKS = 32
PASSWORD_WORKERS = 2
MAX_SECRET_BYTES = 64 * KIB
STORE_TIMEOUT_S = 5.0
MAX_INDEX_BATCH = 500
# A statement's text in the search index; the recording has more of it.
MAX_INDEXED_TEXT_BYTES = 8 * KIB
# Requests of one session whose end is still awaited by the search index.
MAX_INDEXED_PENDING = 1_000
# Recordings whose file is kept open between writes; the others are opened for each write.
MAX_OPEN_RECORDING_FILES = 1_024
# A file of the gateway-wide chain of heads; past it the next one is begun.
MAX_HEADS_FILE_BYTES = 64 * MIB
# Recordings named in one signed mark of the chain of heads.
MAX_MARKS_PER_ENTRY = 1_000
# Rows and COPY data above this are passed on in pieces where nothing has to be rewritten; the
# longest such frame is PostgreSQL's own cap on a value.
STREAM_ABOVE_BYTES = 64 * KIB
MAX_STREAMED_FRAME_BYTES = 1024 * MIB
# Frames that hold names, tags and numbers only (PostgreSQL's own cap on them).
MAX_SMALL_FRAME_BYTES = 10_000
# What describes a result or a statement: 1,664 columns or 65,535 parameters fit.
MAX_DESCRIPTION_BYTES = 1 * MIB
# One error, notice or notification of the resource, with its context.
MAX_NOTICE_BYTES = 16 * MIB
# Everything the resource may say before its first ReadyForQuery.
MAX_LOGIN_BYTES = 1 * MIB
# SCRAM's work factor: more than this would let a hostile resource stall the gate.
MAX_SCRAM_ITERATIONS = 1_000_000
# The HTTP API: one request's body, open event streams of one person, reading a body.
MAX_API_BODY_BYTES = 2 * MIB
MAX_API_STREAMS_PER_PERSON = 8
API_BODY_TIMEOUT_S = 20.0
API_HEAD_TIMEOUT_S = 10.0
MAX_API_CONNECTIONS = 500
# Sign-ins by the API that one source, and one name, may try in a minute.
MAX_LOGINS_PER_SOURCE_PER_MIN = 60
MAX_LOGINS_PER_NAME_PER_MIN = 10
# Bearer tokens from one source that are refused one by one, and recorded.
MAX_BAD_TOKENS_PER_SOURCE_PER_MIN = 60
MAX_RATE_ENTRIES = 10_000
# Policy files, which people write by hand.
MAX_POLICY_FILE_BYTES = 256 * KIB
MAX_POLICY_FILES = 1_000
MAX_POLICY_DEPTH = 12
# An approved request runs at once, or no more: its session is told within a poll.
APPROVAL_USE_S = 60.0
MAX_CACHED_TLS_CONTEXTS = 256
# Grants derived from grants: levels below the first, and what one level may name.
MAX_DELEGATION_DEPTH = 16
MAX_NARROWING_LINES = 200
MAX_GRANT_USES = 100_000
MAX_STEP_CHARS = 100
# Lines of a map of use and of each list of the hygiene report.
MAX_PLACES = 10_000
MAX_HYGIENE_LINES = 1_000
# SCIM: what a provider may keep here, and how it may ask for it (RFC 7644).
MAX_SCIM_RESOURCES = 100_000
MAX_SCIM_PAGE = 500
MAX_SCIM_FILTER_CHARS = 4_000
MAX_SCIM_FILTER_DEPTH = 20
MAX_SCIM_OPERATIONS = 1_000
MAX_SCIM_MEMBERS = 50_000
MIN_SCIM_TOKEN_CHARS = 32
# Tokens of identity providers: the compact form, its JSON's depth, a claim kept for the records.
MAX_JWT_CHARS = 16 * KIB
MAX_JWT_DEPTH = 8
MAX_GROUPS_PER_IDENTITY = 1_000
# What a provider may answer, and how many keys it may show.
MAX_JWKS_BYTES = 512 * KIB
MAX_JWKS_KEYS = 1_000
MAX_PROVIDER_ANSWER_BYTES = 256 * KIB
# One exchange with a provider, from connecting to the last byte.
PROVIDER_TIMEOUT_S = 5.0
# After a failure the provider is not asked again for so long: callers are told at once.
PROVIDER_RETRY_S = 5.0
# Keys are fetched anew after this; where that fails, the old ones count for so long.
PROVIDER_KEYS_TTL_S = 300.0
PROVIDER_KEYS_STALE_S = 3600.0
# Fetches because of a key nobody knows: so many at once, then one in so many seconds.
PROVIDER_KEY_HUNTS = 4
PROVIDER_KEY_HUNT_S = 30.0
# Clocks of providers and of the gate may differ by this.
CLOCK_SKEW_S = 60.0
# A sign-in that was begun must be finished within this.
SIGN_IN_FLOW_S = 600.0
MAX_USED_SIGN_INS = 10_000
# How old a provider's word that somebody signed out may be.
LOGOUT_TOKEN_S = 300.0
MAX_WORKLOAD_GRANT_S = 3600.0
MAX_EXCHANGES_PER_SOURCE_PER_MIN = 120
# SAML messages as they come in, inflated: their size, nesting, and attributes of one element.
MAX_SAML_BYTES = 256 * KIB
MAX_XML_DEPTH = 32
MAX_XML_ATTRIBUTES = 64
# A provider's metadata, which lists more.
MAX_SAML_METADATA_BYTES = 1 * MIB
# Metadata is fetched anew after this; where that fails, the known one counts for so long.
SAML_METADATA_TTL_S = 3600.0
SAML_METADATA_STALE_S = 24 * 3600.0
# An assertion is taken for this long after its issue at most, whatever it says.
SAML_ASSERTION_S = 3600.0
# From the browser's return to the command's or the console's asking for its sign-in.
SAML_CODE_S = 60.0
# Names that are good once (assertions, requests, codes) and not over yet, all nodes together.
MAX_ONCE = 100_000
# A grant given by break-glass; requests for one, open at once, of one person.
MAX_BREAK_GLASS_S = 4 * 3600.0
MAX_BREAK_GLASS_PER_PERSON = 5
# Alerts on their way to a webhook.
MAX_WEBHOOKS = 100
# Authenticators and passkeys of one local user.
MAX_FACTORS_PER_USER = 10
# Codes that somebody may try while they confirm an app.
MAX_FACTOR_TRIES_PER_PERSON_PER_MIN = 10
# Passkeys that somebody is about to use or to make.
MAX_OPEN_CHALLENGES = 10_000
# SSH: one command line, and how deep its groups and substitutions may lie.
MAX_COMMAND_BYTES = 64 * KIB
MAX_COMMAND_DEPTH = 20
# Channels that one connection has open, and the variables that a channel may ask for.
MAX_CHANNELS = 100
MAX_CHANNEL_VARIABLES = 100
MAX_VARIABLE_BYTES = 32 * KIB
# Secrets that one connection may try.
MAX_SIGN_IN_TRIES = 6
# How long a certificate lives that the gate signs for itself, and the principals in it.
MAX_CERTIFICATE_S = 3600.0
MAX_PRINCIPALS = 16
MAX_KEY_ID_BYTES = 256
# Hosts to go through on the way to one; a file of known hosts.
MAX_JUMPS = 4
MAX_KNOWN_HOSTS_BYTES = 4 * MIB
# Public keys that one connection may show, signed with or not: two for each key that it tries.
MAX_KEYS_SHOWN = 30
# A user's certificate's life; those of one sign-in that are not over; keys of one person.
MAX_USER_CERTIFICATE_S = 24 * 3600.0
MAX_CERTIFICATES_PER_LOGIN = 20
MAX_SSH_KEYS_PER_PERSON = 20
# Sign-ins by a browser that connections wait for: a node's, one source's, begun in a minute.
MAX_DEVICE_SIGN_INS = 100
MAX_DEVICE_SIGN_INS_PER_SOURCE = 10
MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN = 40
# SFTP: one packet (OpenSSH's own cap), requests of one channel that wait, its open files.
MAX_SFTP_PACKET_BYTES = 256 * KIB + 1_024
MAX_SFTP_PENDING = 1_000
MAX_SFTP_HANDLES = 1_000
# What a session's terminals may add to its recording, as it is written; past it they end.
MAX_RECORDED_TERMINAL_BYTES = 64 * MIB
# One event of terminal output, before it is written as JSON.
MAX_TERMINAL_EVENT_BYTES = 64 * KIB
# What the contents of files may add to a session's recording, as it is written; past it nothing
# more is read or written. One event of it, before it is written as JSON.
MAX_RECORDED_FILE_BYTES = 256 * MIB
MAX_FILE_EVENT_BYTES = 64 * KIB
# A file put together from a recording: holes count, as far as its end.
MAX_REBUILT_FILE_BYTES = 4 * 1024 * MIB
# Keys whose echo is awaited, and one line of them: past it they are counted, not kept.
MAX_TYPED_LINE_BYTES = 4 * KIB
# SSH: what is kept of a line of output while values to hide are looked for in it.
MAX_MASKED_LINE_BYTES = 32 * KIB
# What a replay keeps of one control sequence; a longer one is dropped.
MAX_CONTROL_SEQUENCE_CHARS = 200
# A line of a terminal as it is read and searched; a longer one is parted.
MAX_SCREEN_LINE_CHARS = 4 * KIB
# A gated shell: one line, keys that wait to be read, lines it remembers, what it believes of a
# client's terminal, and what the host may say to a question of the gate's own.
MAX_SHELL_LINE_CHARS = 8 * KIB
MAX_SHELL_WAITING_CHARS = 64 * KIB
MAX_SHELL_HISTORY = 200
MAX_TERMINAL_COLUMNS = 1_000
MAX_TERMINAL_ROWS = 500
MAX_HOST_ANSWER_BYTES = 16 * KIB
