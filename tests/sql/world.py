"""A small database for tests of the analysis: `world.sql`, and the same as catalog entries.

`test_catalog_live` holds the two together on real servers.
"""

from collections.abc import Iterable
from pathlib import Path

from taskgate.sql.analyse import Analysis, SessionNames, StatementFacts, analyse
from taskgate.sql.catalog import (
    Catalog,
    CatalogAnswer,
    Column,
    Entry,
    NeededName,
    Relation,
    Routine,
    TypeInfo,
)
from taskgate.sql.script import parse_script

SQL = Path(__file__).with_name("world.sql")
PATH = ("pg_catalog", "public")
_TYPES = {"int": (23, "integer"), "text": (25, "text"), "date": (1082, "date")}


def _columns(spec: str, inherited: int = 0) -> tuple[Column, ...]:
    found = []
    for at, item in enumerate(spec.split(), 1):
        name, _, type_name = item.partition(":")
        oid, full = _TYPES.get(type_name or "text", (25, "text"))
        found.append(Column(at, name, oid, full, at <= inherited))
    return tuple(found)


def _table(name: str, spec: str, *, oid: int, **more: object) -> Relation:
    schema, _, own = name.partition(".")
    inherited = int(str(more.pop("inherited", 0)))
    fields: dict[str, object] = {"kind": "r", "temporary": False, **more}
    return Relation(
        oid=oid,
        schema=schema,
        name=own,
        columns=_columns(spec, inherited),
        **fields,  # type: ignore[arg-type]
    )


_EVENTS = (("sales", "events_2024"), ("sales", "events_2025"))
RELATIONS = (
    _table("sales.customers", "id:int name email phone region salary", oid=1001),
    _table("sales.orders", "id:int customer_id:int total status created_at note", oid=1002),
    _table("sales.items", "order_id:int sku qty:int", oid=1003),
    _table("sales.cards", "id:int customer_id:int number pin", oid=1004),
    _table(
        "sales.active",
        "id:int name email",
        oid=1010,
        kind="v",
        definition=" SELECT id, name, email FROM sales.customers WHERE (region = 'EU'::text);",
    ),
    _table(
        "sales.contact",
        "id:int mail total",
        oid=1011,
        kind="v",
        definition=" SELECT a.id, lower(a.email) AS mail, o.total"
        " FROM (sales.active a JOIN sales.orders o ON ((o.customer_id = a.id)));",
    ),
    _table(
        "sales.deep",
        "id:int mail total",
        oid=1012,
        kind="v",
        definition=" SELECT contact.id, contact.mail, contact.total FROM sales.contact;",
    ),
    _table(
        "sales.totals",
        "email total",
        oid=1013,
        kind="m",
        definition=" SELECT c.email, sum(o.total) AS total FROM (sales.customers c"
        " JOIN sales.orders o ON ((o.customer_id = c.id))) GROUP BY c.email;",
    ),
    _table(
        "sales.masked",
        "id:int head pin",
        oid=1014,
        kind="v",
        definition=" SELECT id, substr(number, 1, 4) AS head, pin FROM sales.cards;",
    ),
    _table(
        "sales.by_function",
        "id:int mail",
        oid=1015,
        kind="v",
        definition=" SELECT id, app.get_email(id) AS mail FROM sales.orders;",
    ),
    _table("sales.events", "id:int day:date who", oid=1020, kind="p", descendants=_EVENTS),
    *(
        _table(
            f"sales.{name}",
            "id:int day:date who",
            oid=1021 + at,
            inherited=3,
            ancestors=(("sales", "events"),),
        )
        for at, (_, name) in enumerate(_EVENTS)
    ),
    _table("app.people", "id:int email", oid=1030, descendants=(("app", "staff"),)),
    _table(
        "app.staff", "id:int email badge", oid=1031, inherited=2, ancestors=(("app", "people"),)
    ),
    _table("app.seq", "last_value log_cnt is_called", oid=1032, kind="S"),
    _table("app.logged", "id:int v", oid=1033, has_triggers=True),
    _table("app.ruled", "id:int v", oid=1034, has_rules=True),
    _table("evil.customers", "id:int email", oid=1035),
    _table("public.t", "a:int b c", oid=1040),
    _table("public.u", "a:int d", oid=1041),
    Relation(1042, "public", 'Odd "Name.x', "r", False, _columns("ColA:int b")),
    _table("pg_catalog.pg_class", "oid relname relnamespace relkind reltuples", oid=1259),
    _table("pg_catalog.pg_namespace", "oid nspname nspowner", oid=2615),
    _table("pg_catalog.pg_settings", "name setting context", oid=1260, kind="v", definition="x"),
    _table("pg_catalog.pg_statistic", "starelid stavalues1", oid=2619),
    _table("pg_catalog.pg_stat_activity", "pid query", oid=2620),
    _table("pg_catalog.pg_authid", "oid rolname rolpassword", oid=1261),
    _table("information_schema.tables", "table_schema table_name", oid=1262),
)
_BY_NAME = {(r.schema, r.name): r for r in RELATIONS}


def _routine(name: str, oid: int, **more: object) -> Routine:
    schema, _, own = name.partition(".")
    fields: dict[str, object] = {"language": "sql", "extension_owned": False, **more}
    return Routine(schema=schema, name=own, oid=oid, **fields)  # type: ignore[arg-type]


ROUTINES = (
    _routine("app.get_email", 2001),
    _routine("app.same", 2002),
    _routine("app.pair_text", 2003),
    _routine("app.rows", 2004, returns_set=True),
    _routine("app.tidy", 2005, kind="p"),
    _routine("app.trg", 2006),
    _routine("public.shout", 2007, volatile=False),
    _routine("evil.count", 2008),
    *(
        _routine(f"pg_catalog.{name}", 2100 + at, language="internal")
        for at, name in enumerate(
            [
                "pg_read_file",
                "pg_sleep",
                "lo_export",
                "query_to_xml",
                "nextval",
                "currval",
                "setval",
                "set_config",
                "current_setting",
                "pg_notify",
                "pg_terminate_backend",
                "ts_stat",
                "dblink_exec",
            ]
        )
        if name != "dblink_exec"
    ),
)
OPERATORS = {("public", "==="): ("app", "same")}
TYPES = {
    ("app", "mood"): TypeInfo(3001, "app", "mood", "e"),
    ("app", "short"): TypeInfo(3002, "app", "short", "d"),
    ("app", "pair"): TypeInfo(
        3003, "app", "pair", "c", tuple(r for r in ROUTINES if r.name == "pair_text")
    ),
    ("pg_catalog", "text"): TypeInfo(25, "pg_catalog", "text", "b"),
    ("pg_catalog", "regclass"): TypeInfo(2205, "pg_catalog", "regclass", "b"),
}
_REFERENCING = (("sales", "cards"), ("sales", "customers"), ("sales", "items"), ("sales", "orders"))


def _entry(name: NeededName, path: tuple[str, ...]) -> Entry:
    schemas = (name.schema,) if name.schema is not None else path
    if name.kind == "relation":
        found = [_BY_NAME[s, name.name] for s in schemas if (s, name.name) in _BY_NAME]
        return Entry(relation=found[0] if found else None)
    if name.kind == "function":
        routines = tuple(
            r
            for r in ROUTINES
            if r.name == name.name
            and r.schema in schemas
            and (name.schema is not None or r.schema != "pg_catalog")
        )
        return Entry(routines=routines)
    if name.kind == "operator":
        keys = [OPERATORS[s, name.name] for s in schemas if (s, name.name) in OPERATORS]
        return Entry(routines=tuple(r for r in ROUTINES if (r.schema, r.name) in keys))
    if name.kind == "type":
        types = [TYPES[s, name.name] for s in schemas if (s, name.name) in TYPES]
        return Entry(type=types[0] if types else None)
    return Entry(tables=_REFERENCING if name.name == "customers" else ())


def answer(names: Iterable[NeededName], path: tuple[str, ...] = PATH) -> CatalogAnswer:
    """What the resource would answer."""
    own = [s for s in path if s != "pg_catalog"]
    return CatalogAnswer(
        entries=tuple((name, _entry(name, path)) for name in names),
        schemas=path,
        creation_schema=own[0] if own else "",
        temp_schema="",
        database="world",
        user="tester",
        session_user="tester",
        server_version=180000,
        server_encoding="UTF8",
        standard_conforming_strings=True,
    )


def analysed(
    text: str, names: SessionNames | None = None, path: tuple[str, ...] = PATH
) -> Analysis:
    """The whole loop: parse, analyse, look up what is needed, analyse again."""
    script = parse_script(text)
    catalog = Catalog()
    for _ in range(40):
        found = analyse(script, catalog, names or SessionNames())
        if isinstance(found, Analysis):
            return found
        catalog.add(answer(found.names, path), now=0.0)
    raise AssertionError("names are asked for without end")


def facts_of(
    text: str, names: SessionNames | None = None, path: tuple[str, ...] = PATH
) -> StatementFacts:
    """The facts of the last statement."""
    return analysed(text, names, path).statements[-1]


def said(facts: StatementFacts) -> list[str]:
    """Actions as one line each: `select sales.customers(email id) ?email via sales.active`.

    Columns in round brackets (none for None), compared ones after `?`, `!` for incomplete ones,
    the kind in square brackets unless it is a table. Safe built-in functions are left out.
    """
    lines = []
    for one in facts.actions:
        if one.kind == "builtin":
            continue
        line = f"{one.verb} {one.object}"
        if one.columns is not None:
            line += f"({' '.join(one.columns)})"
        if one.kind != "table":
            line += f" [{one.kind}]"
        if one.compared:
            line += " ?" + " ".join(one.compared)
        if one.via:
            line += f" via {one.via}"
        if not one.complete:
            line += " !"
        lines.append(line)
    return sorted(lines)


def lineage(facts: StatementFacts) -> list[str] | None:
    """Outputs as one line each: `mail <- sales.active.email sales.customers.email`.

    `=` instead of `<-` for plain ones, `<- ?` where it cannot be told."""
    if facts.outputs is None:
        return None
    lines = []
    for one in facts.outputs:
        arrow = "=" if one.plain else "<-"
        if one.sources is None:
            lines.append(f"{one.name} {arrow} ?")
            continue
        refs = " ".join(sorted(f"{r.relation}.{r.column}" for r in one.sources))
        lines.append(f"{one.name} {arrow} {refs}".rstrip())
    return lines
