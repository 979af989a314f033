"""The tables. Alembic's migrations make them; a test holds the two together.

Times are seconds since the epoch in double precision. Values with a structure of their own are
JSON text (`store.encoding`), the same on SQLite and PostgreSQL.
"""

import sqlalchemy as sa

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMES)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("groups", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    # The key of the person an agent acts for.
    sa.Column("acts_for", sa.Text),
)

# Apps that show codes; their secrets are sealed among the others.
authenticators = sa.Table(
    "authenticators",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey("users.name"), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("confirmed", sa.Boolean, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("last_used_at", sa.Double),
)

passkeys = sa.Table(
    "passkeys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey("users.name"), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("credential_id", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("last_used_at", sa.Double),
)

# Unused ones only: using one deletes it.
recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    sa.Column("code_hash", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, sa.ForeignKey("users.name"), nullable=False, index=True),
)

# Open questions to browsers; answering one deletes it.
challenges = sa.Table(
    "challenges",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", sa.Double, nullable=False),
    sa.Column("blocked_until", sa.Double, nullable=False),
    sa.Column("forget_at", sa.Double, nullable=False, index=True),
)

# An authentication of `cut_at` or before no longer counts for this person.
cut_offs = sa.Table(
    "cut_offs",
    metadata,
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("cut_at", sa.Double, nullable=False),
)

# People who have left: barred, whatever their provider says, until they are reinstated.
departures = sa.Table(
    "departures",
    metadata,
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    # The local user that leaving disabled, and reinstating enables; empty for none.
    sa.Column("disabled_user", sa.Text, nullable=False),
    # `model.identity.same_person` of the person: another spelling lets nobody in.
    sa.Column("alike", sa.Text, nullable=False, index=True),
)

# When each person last came in: signed in, or took a task up.
arrivals = sa.Table(
    "arrivals",
    metadata,
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("last_at", sa.Double, nullable=False, index=True),
    sa.Column("alike", sa.Text, nullable=False, index=True),
)

# Where API sign-ins came from; sessions have their own table.
sign_ins = sa.Table(
    "sign_ins",
    metadata,
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("application", sa.Text, primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.Double, nullable=False),
    sa.Column("last_at", sa.Double, nullable=False),
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
)

# What is good once: names that were used, and values to be taken by one caller.
once = sa.Table(
    "once",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("until", sa.Double, nullable=False, index=True),
)

# Everyone a sign-in belongs to: the caller, and whoever the caller acts for. Beside them, the
# sessions at providers that it rests on (`Identity.rests_on`).
login_people = sa.Table(
    "login_people",
    metadata,
    sa.Column("token_hash", sa.Text, sa.ForeignKey("logins.token_hash"), primary_key=True),
    sa.Column("person", sa.Text, primary_key=True, index=True),
)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("resources", sa.Text, nullable=False),
    sa.Column("not_before", sa.Double, nullable=False, index=True),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("revoked_at", sa.Double),
    sa.Column("revoked_why", sa.Text, nullable=False),
    sa.Column("parent", sa.Text, sa.ForeignKey("grants.id"), index=True),
    sa.Column("lapsed", sa.Boolean, nullable=False, index=True),
    # Of a derived grant; NULL in all others.
    sa.Column("step", sa.Text),
    sa.Column("narrowings", sa.Text),
    sa.Column("chain", sa.Text),
    sa.Column("uses_left", sa.Integer),
    # The break-glass that it was given by; NULL for all others.
    sa.Column("break_glass", sa.Text),
)

break_glasses = sa.Table(
    "break_glasses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, nullable=False, index=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("resources", sa.Text, nullable=False),
    sa.Column("lasts_s", sa.Double, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False, index=True),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("second", sa.Text),
    sa.Column("review", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("votes", sa.Text, nullable=False),
    sa.Column("grant_id", sa.Text, nullable=False),
    sa.Column("used_at", sa.Double),
    sa.Column("review_due_at", sa.Double),
    sa.Column("reviewed_at", sa.Double),
    sa.Column("reviewed_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

# The one-time code of a first run, and who used it. One row, number 1.
bootstrap = sa.Table(
    "bootstrap",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("code_hash", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("used_at", sa.Double),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

# Everyone a grant belongs to: the caller, and whoever the caller acts for; and the sessions at
# providers that it rests on (`Identity.rests_on`).
grant_people = sa.Table(
    "grant_people",
    metadata,
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), primary_key=True),
    sa.Column("person", sa.Text, primary_key=True, index=True),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), nullable=False, index=True),
    sa.Column("parent_hash", sa.Text, sa.ForeignKey("tokens.token_hash")),
    sa.Column("issued_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
)

# Numbers that grow in commit order: the row stays locked until the transaction's end. A
# PostgreSQL sequence would not do, because a later number can be seen before an earlier one.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), nullable=False, index=True),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("requester_key", sa.Text, nullable=False),
    sa.Column("requester_keys", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("demands", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False, index=True),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("closed_at", sa.Double),
    sa.Column("closed_why", sa.Text, nullable=False),
    sa.Column("taken_at", sa.Double),
)

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("approve", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("groups", sa.Text, nullable=False),
    sa.Column("more", sa.Text, nullable=False),
)

standing_approvals = sa.Table(
    "standing_approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.id"), nullable=False, unique=True),
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), nullable=False, index=True),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("uses_left", sa.Integer, nullable=False),
    sa.CheckConstraint("uses_left >= 0", name="uses_left"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id"), nullable=False, index=True),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False, index=True),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("client_address", sa.Text, nullable=False),
    sa.Column("client_application", sa.Text, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False, index=True),
    sa.Column("ended_at", sa.Double, index=True),
    sa.Column("ended_why", sa.Text, nullable=False),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("files", sa.Text, nullable=False),
)

applied_policies = sa.Table(
    "applied_policies",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Text, sa.ForeignKey("policies.version"), nullable=False),
    sa.Column("applied_at", sa.Double, nullable=False),
    sa.Column("applied_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    sa.Column("nonce", sa.LargeBinary, nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    sa.Column("wrap_nonce", sa.LargeBinary, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("set_at", sa.Double, nullable=False),
    sa.Column("set_by", sa.Text, nullable=False),
)

known_hosts = sa.Table(
    "known_hosts",
    metadata,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)

# Certificates that people sign in with by SSH, each bound to an API sign-in (`logins`).
ssh_certificates = sa.Table(
    "ssh_certificates",
    metadata,
    sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("login", sa.Text, nullable=False, index=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("issued_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
)

ssh_keys = sa.Table(
    "ssh_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, nullable=False, index=True),
    # One key, one person: else nobody could tell who signs in with it.
    sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("shown", sa.Text, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("last_used_at", sa.Double),
)

directory_users = sa.Table(
    "directory_users",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # User names are compared without regard to case (RFC 7643 section 4.1.1).
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("user_name_key", sa.Text, nullable=False, unique=True),
    sa.Column("external_id", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, unique=True),
    sa.Column("subject_alike", sa.Text, nullable=False, index=True),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

directory_groups = sa.Table(
    "directory_groups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text, nullable=False, unique=True),
    sa.Column("external_id", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)

directory_members = sa.Table(
    "directory_members",
    metadata,
    sa.Column("group_id", sa.Text, sa.ForeignKey("directory_groups.id"), primary_key=True),
    sa.Column(
        "user_id", sa.Text, sa.ForeignKey("directory_users.id"), primary_key=True, index=True
    ),
)

# Derived from recordings. The columns are what a search narrows by, in lower case; `entry` is the
# whole, and `model.audit.matches` has the last word. People and kinds are `|a|b|`.
audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("people", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("entry", sa.Text, nullable=False),
)
