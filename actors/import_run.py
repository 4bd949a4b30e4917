"""What an import that has begun keeps in mind, and what must still be so whenever it writes (spec 02 18)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from functions.catalog import Catalog
from functions.system import transfer_errors as errors
from functions.system.kept_files import FileReplacement
from functions.transaction import Transaction
from functions.transfer.plan import ImportMode, TablePlace, TablePlan
from functions.transfer.zip_layout import STORAGE


@dataclass(frozen=True, slots=True)
class ImportRun:
    """An import under way. `schema_ids`: the schemas its rows are checked against; `namespaces`: those of its
    components. All components have their files in one table, which is the app's."""

    import_id: str
    mode: ImportMode
    plans: list[TablePlan]
    tablet_ids: dict[TablePlace, bytes]
    schema_ids: frozenset[str]
    namespaces: dict[str, str | None]

    @property
    def components(self) -> list[str]:
        return sorted({plan.component for plan in self.plans})

    def hidden_of(self, component: str) -> frozenset[bytes]:
        """The hidden tables that replace a component's own."""
        return frozenset(
            self.tablet_ids[plan.place]
            for plan in self.plans
            if plan.is_replaced and plan.component == component and plan.name != STORAGE
        )

    @property
    def files(self) -> FileReplacement | None:
        """None: no files are replaced."""
        owners = frozenset(plan.component for plan in self.plans if plan.is_replaced and plan.name == STORAGE)
        if not owners:
            return None
        tablet_id = self.tablet_ids[TablePlace(min(owners), STORAGE)]  # that of all of them
        return FileReplacement(tablet_id, owners, must_be_empty=self.mode is ImportMode.REQUIRE_EMPTY)

    @property
    def hidden_files(self) -> frozenset[bytes]:
        return frozenset({self.files.tablet_id} if self.files is not None else ())


def check_unchanged(transaction: Transaction, run: ImportRun) -> None:
    """What is under its old path another component would never have the rows; a schema that came later has
    not seen them."""
    for component, namespace in run.namespaces.items():
        catalog = transaction.catalog_of(component)
        if catalog is None or catalog.component.is_being_deleted or catalog.component.namespace != namespace:
            raise errors.import_component_deleted(component)
    if not run.schema_ids.issuperset(schema_ids_of(transaction.catalog)):
        raise errors.import_schema_changed()


def namespace_of(transaction: Transaction, component: str) -> str | None:
    catalog = transaction.catalog_of(component)
    assert catalog is not None
    return catalog.component.namespace


def schema_ids_of(catalog: Catalog) -> Iterator[str]:
    """Of all components."""
    for each in catalog.everywhere():
        if each.schema_row_id is not None:
            yield each.schema_row_id
        if each.pending_schema is not None:
            yield each.pending_schema.row_id
