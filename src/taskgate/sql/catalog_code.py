"""Parts of the look-up query: which functions of users run along with a relation or a conversion.

Everything is qualified with pg_catalog, as in all of the query (see `catalog_query`).

Source: PostgreSQL manual, chapter "System Catalogs": pg_depend, pg_constraint, pg_trigger, pg_cast.
"""

# ruff: noqa: S608 - what is put into the text are constants of these modules

EQ = "OPERATOR(pg_catalog.=)"
NE = "OPERATOR(pg_catalog.<>)"
GT = "OPERATOR(pg_catalog.>)"

ROUTINE = f"""pg_catalog.json_build_array(pn.nspname, p.proname, p.oid, l.lanname,
 EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid {EQ} p.oid
  AND d.classid {EQ} 1255::pg_catalog.oid AND d.deptype {EQ} 'e'::pg_catalog."char"),
 p.proretset, p.provolatile {EQ} 'v'::pg_catalog."char", p.prokind,
 (p.xmin)::pg_catalog.text)"""
ROUTINE_FROM = f"""pg_catalog.pg_proc p
 JOIN pg_catalog.pg_namespace pn ON pn.oid {EQ} p.pronamespace
 JOIN pg_catalog.pg_language l ON l.oid {EQ} p.prolang"""

# `c` and what inherits from it, all levels: what is written to it may land there.
_BELOW = f"""(WITH RECURSIVE kin(o) AS (SELECT c.oid UNION SELECT i.inhrelid
  FROM pg_catalog.pg_inherits i JOIN kin ON i.inhparent {EQ} kin.o) SELECT o FROM kin) kin(o)"""
_TRIGGERS = f"pg_catalog.pg_trigger t ON t.tgrelid {EQ} kin.o AND NOT t.tgisinternal"


def _users(catalog: int, thing: str) -> str:
    """A join that holds where `thing`, an OID in that catalog, uses a function of a user's: one
    that neither came with the server (those leave no dependency) nor with an extension."""
    return f"""JOIN pg_catalog.pg_depend d ON d.classid {EQ} {catalog}::pg_catalog.oid
 AND d.objid {EQ} {thing} AND d.refclassid {EQ} 1255::pg_catalog.oid AND NOT EXISTS (
  SELECT 1 FROM pg_catalog.pg_depend e WHERE e.classid {EQ} 1255::pg_catalog.oid
   AND e.objid {EQ} d.refobjid AND e.deptype {EQ} 'e'::pg_catalog."char")"""


def runs_code(below: str) -> str:
    """Whether writing to one of the tables in `below` (an item of FROM named kin, with column o)
    may run a user's function: triggers, constraints, defaults, indexes, domains of columns."""
    return f"""(EXISTS (SELECT 1 FROM {below} JOIN {_TRIGGERS})
 OR EXISTS (SELECT 1 FROM {below} JOIN pg_catalog.pg_constraint k ON k.conrelid {EQ} kin.o
  {_users(2606, "k.oid")})
 OR EXISTS (SELECT 1 FROM {below} JOIN pg_catalog.pg_attrdef k ON k.adrelid {EQ} kin.o
  {_users(2604, "k.oid")})
 OR EXISTS (SELECT 1 FROM {below} JOIN pg_catalog.pg_index k ON k.indrelid {EQ} kin.o
  {_users(1259, "k.indexrelid")})
 OR EXISTS (SELECT 1 FROM {below} JOIN pg_catalog.pg_attribute a ON a.attrelid {EQ} kin.o
  JOIN pg_catalog.pg_constraint k ON k.contypid {EQ} a.atttypid {_users(2606, "k.oid")}))"""


CODE = runs_code(_BELOW)

# Names none of it, but changes whenever a trigger, rule or policy of `c` does, or its function.
RUNS = f"""(SELECT pg_catalog.string_agg(x.what, ' ' ORDER BY x.what) FROM (
  SELECT pg_catalog.concat('t', t.oid, '.', t.xmin, '.', p.oid, '.', p.xmin)
   FROM {_BELOW} JOIN {_TRIGGERS} JOIN pg_catalog.pg_proc p ON p.oid {EQ} t.tgfoid
  UNION ALL SELECT pg_catalog.concat('r', r.oid, '.', r.xmin) FROM pg_catalog.pg_rewrite r
   WHERE r.ev_class {EQ} c.oid AND r.ev_type {NE} '1'::pg_catalog."char"
  UNION ALL SELECT pg_catalog.concat('p', l.oid, '.', l.xmin) FROM pg_catalog.pg_policy l
   WHERE l.polrelid {EQ} c.oid) x(what))"""

# The functions that a conversion to or from type `t` may call: its casts, and the checks of a
# domain, of those it is made over, and of the columns of a composite type.
CONVERSIONS = f"""(SELECT pg_catalog.json_agg({ROUTINE}) FROM (
  SELECT k.castfunc FROM pg_catalog.pg_cast k
   WHERE k.castsource {EQ} t.oid OR k.casttarget {EQ} t.oid
  UNION SELECT d.refobjid FROM (WITH RECURSIVE base(o) AS (SELECT t.oid
    UNION SELECT s.o FROM base JOIN pg_catalog.pg_type b ON b.oid {EQ} base.o, LATERAL (
     SELECT b.typbasetype UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
      WHERE a.attrelid {EQ} b.typrelid AND a.attnum {GT} 0 AND NOT a.attisdropped) s(o)
    WHERE s.o {NE} 0::pg_catalog.oid) SELECT o FROM base) base(o)
   JOIN pg_catalog.pg_constraint k ON k.contypid {EQ} base.o {_users(2606, "k.oid")}) f(o)
 JOIN {ROUTINE_FROM} ON p.oid {EQ} f.o)"""

# Casts between types of the server's own that users have put functions behind. `makers` are the
# server's functions and operators that make a value of the source type out of others.
CASTS = f"""SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
  st.oid, st.typname, tt.typname, k.castcontext {EQ} 'e'::pg_catalog."char", {ROUTINE},
  (SELECT pg_catalog.json_agg(m.name) FROM (
    SELECT f.proname FROM pg_catalog.pg_proc f WHERE f.prorettype {EQ} st.oid
    UNION SELECT o.oprname FROM pg_catalog.pg_operator o WHERE o.oprresult {EQ} st.oid) m(name))))
 FROM pg_catalog.pg_cast k
 JOIN pg_catalog.pg_type st ON st.oid {EQ} k.castsource
 JOIN pg_catalog.pg_type tt ON tt.oid {EQ} k.casttarget
 JOIN {ROUTINE_FROM} ON p.oid {EQ} k.castfunc
 WHERE pn.nspname {NE} 'pg_catalog'::pg_catalog.name
  AND st.typnamespace {EQ} 11::pg_catalog.oid AND tt.typnamespace {EQ} 11::pg_catalog.oid"""


def cascading(found: str) -> str:
    """The tables to which a foreign key's action passes a change of the relation that the
    condition `found` picks (`c`, of schema `n`), all levels; and whether it may run code there."""
    acts = f"""{EQ} ANY ('{{c,n,d}}'::pg_catalog."char"[])"""
    return f"""WITH RECURSIVE kin(o, passed) AS (
  SELECT c.oid, false FROM pg_catalog.pg_class c
   JOIN pg_catalog.pg_namespace n ON n.oid {EQ} c.relnamespace WHERE {found}
  UNION SELECT s.o, s.passed FROM kin, LATERAL (
   SELECT f.conrelid, true FROM pg_catalog.pg_constraint f
    WHERE f.confrelid {EQ} kin.o AND f.contype {EQ} 'f'::pg_catalog."char"
     AND (f.confdeltype {acts} OR f.confupdtype {acts})
   UNION ALL SELECT i.inhrelid, kin.passed FROM pg_catalog.pg_inherits i
    WHERE i.inhparent {EQ} kin.o) s(o, passed)),
 reached(o) AS (SELECT DISTINCT kin.o FROM kin WHERE kin.passed)
 SELECT pg_catalog.json_build_object('tables', (
  SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kn.nspname, k.relname)) FROM reached
   JOIN pg_catalog.pg_class k ON k.oid {EQ} reached.o
   JOIN pg_catalog.pg_namespace kn ON kn.oid {EQ} k.relnamespace),
  'code', {runs_code("reached kin")})"""
