"""Index changes of pushes against a dumber twin: sets of (table, name, fields, staged).

The world is small (two tables, three names, three field lists), so that keeping, changing, staging and
dropping the same name all happen often.
"""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from functions.schema import Schema, parse_schema
from functions.system.schema_changes import declared_indexes, plan_indexes

from ...support.deployment import Deployment, schema_module, table

TABLES = ["a", "b"]
NAMES = ["x", "y", "z"]
FIELDS = [["f"], ["g"], ["f", "g"]]
SEEDS = range(12)
PUSHES = 6

Spec = tuple[str, str, tuple[str, ...], bool]


def random_tables(rng: random.Random) -> list[Any]:
    """Some tables with some indexes; no two of one table have the same fields."""
    tables = []
    for name in TABLES:
        if rng.random() < 0.2:
            continue
        names = rng.sample(NAMES, rng.randrange(len(NAMES) + 1))
        fields = rng.sample(FIELDS, len(names))
        plain, staged = {}, {}
        for index_name, index_fields in zip(names, fields, strict=True):
            (staged if rng.random() < 0.4 else plain)[index_name] = index_fields
        tables.append(table(name, staged=staged, **plain))
    return tables


def specs_of(tables: list[Any]) -> set[Spec]:
    return {
        (each["tableName"], index["indexDescriptor"], tuple(index["fields"]), is_staged)
        for each in tables
        for kind, is_staged in (("indexes", False), ("stagedDbIndexes", True))
        for index in each[kind]
    }


def twin_diff(before: set[Spec], after: set[Spec]) -> dict[str, set[Spec]]:
    """The specification's words as set algebra (spec 02 10)."""

    def plain(specs: set[Spec], staged: bool) -> set[tuple[Any, ...]]:
        return {spec[:3] for spec in specs if spec[3] is staged}

    old, new = {spec[:3] for spec in before}, {spec[:3] for spec in after}
    return {
        "added_indexes": {spec for spec in after if spec[:3] not in old},
        "removed_indexes": {spec for spec in before if spec[:3] not in new},
        "enabled_indexes": {(*each, False) for each in plain(before, True) & plain(after, False)},
        "disabled_indexes": {(*each, True) for each in plain(before, False) & plain(after, True)},
    }


def read_diff(diff: dict[str, Any]) -> dict[str, set[Spec]]:
    return {
        kind: {
            (*each["name"].split("."), tuple(each["fields"]), each.get("staged", False)) for each in entries
        }
        for kind, entries in diff.items()
    }


def existing_specs(deployment: Deployment) -> set[tuple[Spec, str]]:
    return {
        ((each.name, index.name, index.field_names[:-1], index.is_staged), index.state)
        for each in deployment.database.catalog.user_tables()
        for index in each.indexes[2:]
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_finished_pushes_leave_exactly_the_declared_indexes_and_report_what_changed(seed: int) -> None:
    rng, deployment, before = random.Random(seed), Deployment(seed), set[Spec]()
    for _ in range(PUSHES):
        tables = random_tables(rng)
        after = specs_of(tables)
        started = deployment.start(schema=schema_module(*tables))
        shown = read_diff(started["schemaChange"]["indexDiffs"][""])
        assert shown == twin_diff(before, after), f"seed {seed}: {before} -> {after}"
        deployment.database.maintain()
        deployment.finish(started)
        expected = {(spec, "Backfilled2" if spec[3] else "Enabled") for spec in after}
        assert existing_specs(deployment) == expected, f"seed {seed}: {before} -> {after}"
        before = after


@pytest.mark.parametrize("seed", SEEDS)
def test_abandoned_pushes_disable_nothing_and_leave_nothing_behind_the_next_finished_one(seed: int) -> None:
    """Between a start and its finish every enabled index stays enabled; then only the declared ones exist."""
    rng, deployment = random.Random(seed), Deployment(seed)
    for step in range(2 * PUSHES):
        tables = random_tables(rng)
        enabled = {spec for spec, state in existing_specs(deployment) if state == "Enabled"}
        started = deployment.start(schema=schema_module(*tables))
        still = {spec for spec, state in existing_specs(deployment) if state == "Enabled"}
        assert enabled <= still, f"seed {seed}, step {step}: a push that only started disabled an index"
        if rng.random() < 0.5:
            deployment.database.maintain()
        if rng.random() < 0.6:
            continue
        deployment.database.maintain()
        deployment.finish(started)
        expected = {(spec, "Backfilled2" if spec[3] else "Enabled") for spec in specs_of(tables)}
        assert existing_specs(deployment) == expected, f"seed {seed}, step {step}"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_name_ever_has_two_indexes_that_are_not_enabled(seed: int) -> None:
    rng, deployment = random.Random(seed), Deployment(seed)
    for step in range(2 * PUSHES):
        deployment.start(schema=schema_module(*random_tables(rng)))
        pending = [spec[:2] for spec, state in existing_specs(deployment) if state != "Enabled"]
        assert len(pending) == len(set(pending)), f"seed {seed}, step {step}: {pending}"


def test_planning_twice_after_a_start_finds_nothing_to_add() -> None:
    deployment = Deployment()
    deployment.database.insert("a", {"f": "1"})
    schema_tables = [table("a", x=["f"], staged={"y": ["g"]}), table("b", x=["g"])]
    deployment.start(schema=schema_module(*schema_tables))
    plan = plan_indexes(_schema(schema_tables), deployment.database.catalog)
    assert (plan.added, plan.removed, plan.superseded) == ((), (), ())
    assert len(plan.identical) == 3


def test_the_declared_fields_end_with_the_creation_time() -> None:
    assert [spec.fields for spec in declared_indexes(_schema([table("a", x=["f"])]))] == [
        ("f", "_creationTime")
    ]


def test_without_a_schema_nothing_is_declared() -> None:
    assert declared_indexes(None) == []


def _schema(tables: list[Any]) -> Schema:
    return parse_schema(orjson.dumps({"tables": tables, "schemaValidation": True}).decode())
