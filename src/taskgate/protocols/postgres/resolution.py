"""What names mean in this session at this moment, and when that must be asked anew.

Sessions whose names resolve alike (same resource, database, role and search path) share one
catalog. A session that has temporary objects, or has changed the schema in a transaction still
open, sees what others do not, and gets one of its own.
"""

from collections import OrderedDict
from dataclasses import dataclass

from taskgate.sql.catalog import Catalog, CatalogAnswer, parse_catalog_answer
from taskgate.sql.facts import StatementFacts

_ENDS = frozenset({"commit", "rollback", "rollback_to", "two_phase"})
# Search paths in use at one time on one resource; the least recently used goes first.
_MAX_CATALOGS = 256


class Catalogs:
    """The shared catalogs of one resource and database, by role and search path."""

    __slots__ = ("_by_path",)

    def __init__(self) -> None:
        self._by_path: OrderedDict[tuple[str, ...], Catalog] = OrderedDict()

    def of(self, answer: CatalogAnswer) -> Catalog:
        key = (answer.user, *answer.schemas)
        catalog = self._by_path.get(key)
        if catalog is None:
            catalog = self._by_path[key] = Catalog(schemas=answer.schemas, user=answer.user)
            if len(self._by_path) > _MAX_CATALOGS:
                self._by_path.popitem(last=False)
        self._by_path.move_to_end(key)
        return catalog

    def changed(self) -> None:
        """The schema was changed through the gate: all that is known may be wrong."""
        self._by_path.clear()


@dataclass(slots=True)
class Resolution:
    """`dirty`: the search path or what it holds may have changed since `catalog` was picked.
    `changed_in_transaction`: a change is not committed yet, or may be rolled back. `ending`: a
    statement that ends a transaction was sent since the resource last was idle. `frozen`: the
    transaction's snapshot hides what others change in the catalogs. `anew`: nothing counts that
    was looked up before.

    What changes names counts from the moment it is sent: a look-up sent later sees it.
    """

    shared: Catalogs
    catalog: Catalog
    dirty: bool = True
    changed_in_transaction: bool = False
    ending: bool = False
    frozen: bool = False
    anew: bool = False

    def begin_anew(self) -> None:
        """Nothing that was looked up before may be used, whatever its age."""
        self.dirty = self.anew = True

    def sent(self, statements: tuple[StatementFacts, ...]) -> None:
        """Statements are on their way to the resource."""
        for facts in statements:
            if facts.effects.transaction in _ENDS:
                self.ending = True
                self.dirty = self.dirty or self.changed_in_transaction
            if facts.effects.may_change_resolution:
                self.dirty = True
                self.changed_in_transaction = True

    def synced(self, *, in_transaction: bool) -> None:
        """A Sync is on its way, which ends a transaction that is not a block."""
        if self.ending or not in_transaction:
            self.dirty = self.dirty or self.changed_in_transaction

    def rolled_back_to_savepoint(self) -> None:
        self.dirty = self.dirty or self.changed_in_transaction

    def transaction_ended(self, *, for_sure: bool) -> None:
        """A transaction has ended; `for_sure`: and none has begun that is not over yet."""
        self.ending = self.ending and not for_sure
        if self.changed_in_transaction:
            self.changed_in_transaction = not for_sure
            self.dirty = True
            self.shared.changed()

    def answered(self, text: str, now: float) -> Catalog:
        """Takes a look-up's answer in, and says which catalog counts from now on.

        Raises:
            Unreadable: the answer is not what `catalog_query` asks for.
        """
        answer = parse_catalog_answer(text)
        self.frozen = answer.frozen
        if self.dirty or self.catalog.schemas != answer.schemas:
            alone = self.changed_in_transaction or answer.has_temporary or answer.frozen
            if alone:
                self.catalog = Catalog(schemas=answer.schemas, user=answer.user)
            else:
                self.catalog = self.shared.of(answer)
            self.dirty = False
        if self.anew:
            self.anew = False
            self.catalog.forget()
        self.catalog.add(answer, now)
        return self.catalog
