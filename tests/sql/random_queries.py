"""Random queries over `world.sql`, mostly valid: for tests against real servers."""

from dataclasses import dataclass, field
from random import Random

INT, TEXT, NUM, BOOL = "int", "text", "num", "bool"

TABLES = {
    "sales.customers": [
        ("id", INT), ("name", TEXT), ("email", TEXT), ("phone", TEXT), ("region", TEXT),
        ("salary", NUM),
    ],
    "sales.orders": [("id", INT), ("customer_id", INT), ("total", NUM), ("status", TEXT)],
    "sales.items": [("order_id", INT), ("sku", TEXT), ("qty", INT)],
    "sales.active": [("id", INT), ("name", TEXT), ("email", TEXT)],
    "sales.contact": [("id", INT), ("mail", TEXT), ("total", NUM)],
    "sales.deep": [("id", INT), ("mail", TEXT), ("total", NUM)],
    "app.people": [("id", INT), ("email", TEXT)],
    "public.t": [("a", INT), ("b", TEXT)],
}  # fmt: skip

Column = tuple[str, str]  # expression text, type
# Columns that the tests keep secret come up more often.
SECRET_NAMES = ("email", "mail", "salary")


@dataclass(slots=True)
class Writer:
    """Writes one query. `ctes` are the WITH names in sight, with their columns."""

    random: Random
    ctes: dict[str, list[Column]] = field(default_factory=dict)
    serial: int = 0

    def name(self, stem: str) -> str:
        self.serial += 1
        return f"{stem}{self.serial}"

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    # Expressions.

    def value(self, kind: str, scope: list[Column], depth: int) -> str:
        columns = [text for text, k in scope if k == kind]
        if depth <= 0 or self.chance(0.3):
            if columns and self.chance(0.8):
                secret = [c for c in columns if c.endswith(SECRET_NAMES)]
                return self.random.choice(secret if secret and self.chance(0.4) else columns)
            return self.constant(kind)
        maker = {INT: self.integer, TEXT: self.text, NUM: self.number, BOOL: self.boolean}[kind]
        return maker(scope, depth - 1)

    def constant(self, kind: str) -> str:
        pick = self.random.choice
        if kind == INT:
            return str(self.random.randint(0, 5))
        if kind == NUM:
            return f"{self.random.randint(0, 50)}.5"
        if kind == BOOL:
            return pick(("true", "false"))
        return pick(("'a'", "'Ann'", "'EU'", "'x@y'", "'new'"))

    def text(self, scope: list[Column], depth: int) -> str:
        a = self.value(TEXT, scope, depth)
        b = self.value(TEXT, scope, depth)
        i = self.value(INT, scope, depth)
        return self.random.choice(
            (
                f"upper({a})",
                f"lower({a})",
                f"({a} || {b})",
                f"concat({a}, {b}, {i})",
                f"coalesce({a}, {b})",
                f"nullif({a}, {b})",
                f"substr({a}, 1, 2)",
                f"left({a}, 3)",
                f"replace({a}, 'a', {b})",
                f"case when {self.value(BOOL, scope, depth)} then {a} else {b} end",
                f"case {a} when {b} then 'p' else 'q' end",
                f"greatest({a}, {b})",
                f"({a})::varchar(20)",
                f"split_part({a}, '@', 1)",
                f"md5({a})",
                f"(array[{a}, {b}])[{self.random.randint(1, 2)}]",
                f"(select {self.one(TEXT, scope, depth)})",
                f"({i})::text",
                f"to_jsonb({a}) ->> 0",
                f"repeat({a}, 2)",
                f"(row({a}, {b})::text)",
                f"overlay({a} placing 'z' from 1)",
                f"trim({a})",
                f"string_to_array({a}, '@')::text",
                f"substr(nullif({a}, {b}), 1, {self.random.choice((2, -1))})",
                f"split_part({a}, '@', {self.random.choice((1, 0))})",
                f'({a} collate "C")',
                f"(array_remove(array[{a}, {b}], 'a'))[1]",
            )
        )

    def integer(self, scope: list[Column], depth: int) -> str:
        a = self.value(TEXT, scope, depth)
        i = self.value(INT, scope, depth)
        j = self.value(INT, scope, depth)
        return self.random.choice(
            (
                f"length({a})",
                f"({i} + {j})",
                f"({i} * 2)",
                f"({i} / ({j} + 1))",
                f"ascii({a})",
                f"strpos({a}, 'a')",
                f"coalesce({i}, {j})",
                f"({self.value(BOOL, scope, depth)})::int",
                f"(select {self.one(INT, scope, depth)})",
                f"abs({i})",
                f"case when {self.value(BOOL, scope, depth)} then {i} else 1 / ({j} - 1) end",
                f"round({self.value(NUM, scope, depth)})::int",
                f"cardinality(array[{i}, {j}])",
                f"date_part({self.random.choice((a, chr(39) + 'day' + chr(39)))}, now())::int",
                f"num_nulls({a}, {j})",
                f"length(array_to_string(array[{a}] || array[{i}::text], ','))",
            )
        )

    def number(self, scope: list[Column], depth: int) -> str:
        a = self.value(NUM, scope, depth)
        b = self.value(NUM, scope, depth)
        return self.random.choice(
            (
                f"({a} + {b})",
                f"({a} / ({b} - 10))",
                f"round({a})",
                f"coalesce({a}, {b})",
                f"({self.value(INT, scope, depth)})::numeric",
                f"(select {self.one(NUM, scope, depth)})",
                f"sqrt({a})",
                f"floor({a})",
            )
        )

    def boolean(self, scope: list[Column], depth: int) -> str:
        kind = self.random.choice((INT, TEXT, NUM))
        a = self.value(kind, scope, depth)
        b = self.value(kind, scope, depth)
        t = self.value(TEXT, scope, depth)
        return self.random.choice(
            (
                f"({a} = {b})",
                f"({a} <> {b})",
                f"({a} < {b})",
                f"({t} like '%a%')",
                f"({t} ~ '^a')",
                f"({a} is null)",
                f"({a} is distinct from {b})",
                f"({a} between {b} and {b})",
                f"({a} in ({b}, {self.constant(kind)}))",
                f"({self.value(BOOL, scope, depth)} and {self.value(BOOL, scope, depth)})",
                f"({self.value(BOOL, scope, depth)} or {self.value(BOOL, scope, depth)})",
                f"(not {self.value(BOOL, scope, depth)})",
                f"exists (select {self.one(kind, scope, depth)})",
                f"({a} in (select {self.one(kind, scope, depth)}))",
                f"({a} = any (array[{b}, {a}]))",
                f"starts_with({t}, 'a')",
                f"({t} like '{self.random.choice(('a', 'b%', '%@', 'p'))}\\')",
                f"(row({t}, {a}) = row('a', {b}))",
                f"(array[{a}] {self.random.choice(('=', '<', '&&'))} array[{b}])",
                f"(array[row({t}, to_json(1))] = array[row({t}, to_json(1))])",
                f"({t} in ('a', null, {self.constant(TEXT)}))",
                f"(nullif({t}, 'a') ~ '{self.random.choice(('^a', '*'))}')",
                f"({t} = any (array['a', null]))",
            )
        )

    def one(self, kind: str, outer: list[Column], depth: int) -> str:
        """The rest of a correlated subquery after its SELECT, with one column."""
        source, columns = self.item(depth)
        scope = columns + (outer if self.chance(0.5) else [])
        if self.chance(0.3):
            aggregate = {INT: "max", NUM: "sum", TEXT: "min", BOOL: "bool_and"}[kind]
            return f"{aggregate}({self.value(kind, scope, depth)}) from {source}"
        where = ""
        if self.chance(0.6):
            where = f" where {self.value(BOOL, scope, depth)}"
        return f"{self.value(kind, scope, depth)} from {source}{where} limit 1"

    # FROM.

    def item(self, depth: int, outer: list[Column] | None = None) -> tuple[str, list[Column]]:
        roll = self.random.random()
        alias = self.name("x")
        if self.ctes and roll < 0.25:
            name = self.random.choice(list(self.ctes))
            return f"{name} {alias}", [(f"{alias}.{c}", k) for c, k in self.ctes[name]]
        if depth > 0 and roll < 0.45:
            inner, kinds = self.select(depth - 1, outer if self.chance(0.3) else None)
            lateral = "lateral " if outer else ""
            names = [f"c{at}" for at in range(len(kinds))]
            listed = ", ".join(names)
            return (
                f"{lateral}({inner}) {alias}({listed})",
                [(f"{alias}.{n}", k) for n, k in zip(names, kinds, strict=True)],
            )
        if depth > 0 and roll < 0.6:
            left, left_columns = self.item(depth - 1)
            right, right_columns = self.item(depth - 1)
            columns = left_columns + right_columns
            join = self.random.choice(("join", "left join", "full join"))
            if join == "full join":
                a = [c for c, k in left_columns if k == INT]
                b = [c for c, k in right_columns if k == INT]
                if not a or not b:
                    return f"({left} cross join {right})", columns
                return f"({left} full join {right} on {a[0]} = {b[0]})", columns
            on = self.value(BOOL, columns, 1)
            return f"({left} {join} {right} on {on})", columns
        if roll < 0.68:
            return (
                f"(values (1, 'v'), ({self.value(INT, outer or [], 1)}, 'w')) {alias}(n, s)"
                if outer is None
                else f"(values (1, 'v'), (2, 'w')) {alias}(n, s)",
                [(f"{alias}.n", INT), (f"{alias}.s", TEXT)],
            )
        if roll < 0.74:
            return f"generate_series(1, 3) {alias}", [(alias, INT)]
        table = self.random.choice(list(TABLES))
        columns = TABLES[table]
        if self.chance(0.2):
            names = [self.name("r") for _ in columns]
            return (
                (
                    f"{table} {alias}({', '.join(names)})",
                    [(f"{alias}.{n}", k) for n, (_, k) in zip(names, columns, strict=True)],
                )
                if table not in ("sales.orders", "public.t")
                else (f"{table} {alias}", [(f"{alias}.{c}", k) for c, k in columns])
            )
        return f"{table} {alias}", [(f"{alias}.{c}", k) for c, k in columns]

    # Queries.

    def select(self, depth: int, outer: list[Column] | None = None) -> tuple[str, list[str]]:
        """A SELECT's text and its columns' types."""
        if depth > 0 and self.chance(0.12):
            kinds = [self.random.choice((INT, TEXT, NUM)) for _ in range(self.random.randint(1, 3))]
            op = self.random.choice(("union", "union all", "intersect", "except"))
            left = self.plain(depth - 1, outer, kinds)
            right = self.plain(depth - 1, outer, kinds)
            return f"({left}) {op} ({right})", kinds
        if depth > 0 and self.chance(0.15):
            return self.with_query(depth - 1)
        if depth > 0 and self.chance(0.15):
            return self.grouped(depth - 1, outer)
        kinds = [self.random.choice((INT, TEXT, NUM)) for _ in range(self.random.randint(1, 4))]
        return self.plain(depth, outer, kinds), kinds

    def plain(self, depth: int, outer: list[Column] | None, kinds: list[str]) -> str:
        items: list[str] = []
        scope: list[Column] = []
        for _ in range(self.random.choice((1, 1, 2))):
            text, columns = self.item(depth, scope if scope and self.chance(0.5) else None)
            items.append(text)
            scope = scope + columns
        everything = scope + (outer or [])
        targets = []
        for kind in kinds:
            expression = self.value(kind, everything, depth + 1)
            if kind == INT and self.chance(0.08):
                expression = (
                    f"(row_number() over (order by {self.value(TEXT, everything, 1)}))::int"
                )
            targets.append(expression)
        text = f"select {'distinct ' if self.chance(0.1) else ''}{', '.join(targets)}"
        text += f" from {', '.join(items)}"
        if self.chance(0.5):
            text += f" where {self.value(BOOL, everything, depth)}"
        if self.chance(0.2):
            text += f" order by {self.random.randint(1, len(kinds))}"
        if self.chance(0.15):
            text += f" limit {self.random.randint(1, 6)}"
        return text

    def grouped(self, depth: int, outer: list[Column] | None) -> tuple[str, list[str]]:
        source, columns = self.item(depth)
        key = self.random.choice(columns)
        scope = columns + (outer or [])
        text = (
            f"select {key[0]}, count(*)::int, min({self.value(TEXT, scope, depth)}),"
            f" string_agg({self.value(TEXT, scope, depth)}, ',' order by"
            f" {self.value(INT, scope, 1)})"
            f" filter (where {self.value(BOOL, scope, 1)}) from {source}"
            f" group by {key[0]}"
        )
        if self.chance(0.3):
            text += f" having min({self.value(TEXT, scope, 1)}) <> 'b'"
        return text, [key[1], INT, TEXT, TEXT]

    def with_query(self, depth: int) -> tuple[str, list[str]]:
        name = self.name("w")
        before = dict(self.ctes)
        if self.chance(0.3):
            body = (
                "select id, name from sales.customers union all"
                f" select n + 1, s || 'x' from {name} where n < 4"
            )
            if self.chance(0.5):
                body = body.replace("select id, name", "select id, email")
            head = f"with recursive {name}(n, s) as ({body})"
            self.ctes[name] = [("n", INT), ("s", TEXT)]
        else:
            inner, kinds = self.select(depth)
            names = [f"k{at}" for at in range(len(kinds))]
            head = f"with {name}({', '.join(names)}) as ({inner})"
            self.ctes[name] = list(zip(names, kinds, strict=True))
        body, kinds = self.select(depth)
        self.ctes = before
        return f"{head} select * from ({body}) {self.name('z')}", kinds


def random_query(seed: int) -> str:
    """One SELECT, the same for the same seed."""
    return Writer(Random(seed)).select(1 + seed % 3)[0]
