"""Which images an executor keeps: those that the newest few catalogs are served with, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.catalog import Catalog
from functions.images import Images
from functions.isolate import ImageRequest
from log import limits

from ..support.deployment import Deployment, functions_module

SYSTEM = {"CONVEX_CLOUD_URL": "http://cloud.test", "CONVEX_SITE_URL": "http://site.test"}


class CountingEngine:
    """functions.isolate.Engine, as far as images go: each is a new object."""

    def __init__(self) -> None:
        self.built = 0

    def build_image(self, request: ImageRequest) -> Any:
        self.built += 1
        return object()


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.push(functions_module("m.js", "export const f = query();"))
    return deployment


def catalog_of(deployment: Deployment, ts: int, **variables: str) -> Catalog:
    """The newest catalog as another commit of the catalog's tables would have it."""
    return replace(deployment.database.catalog, ts=ts, environment=variables)


def asked(images: Images, deployment: Deployment, catalog: Catalog) -> Any:
    return images.image_of(catalog, deployment.database.begin(is_read_only=True).snapshot)


def test_a_change_of_tables_keeps_the_image(deployment: Deployment) -> None:
    engine = CountingEngine()
    images = Images(engine, SYSTEM)  # type: ignore[arg-type]
    found = {id(asked(images, deployment, catalog_of(deployment, ts))) for ts in (1, 2, 2, 3)}
    assert len(found) == 1 and engine.built == 1


def test_images_of_catalogs_that_nobody_reads_any_more_are_forgotten(deployment: Deployment) -> None:
    engine = CountingEngine()
    images = Images(engine, SYSTEM)  # type: ignore[arg-type]
    for ts in range(1, 20):
        newest = asked(images, deployment, catalog_of(deployment, ts, ROUND=str(ts)))
        assert images.held <= limits.CATALOGS_HELD_MAX
    assert engine.built == 19
    assert asked(images, deployment, catalog_of(deployment, ts, ROUND=str(ts))) is newest
    recent = ts - limits.CATALOGS_HELD_MAX + 1
    asked(images, deployment, catalog_of(deployment, recent, ROUND=str(recent)))
    assert engine.built == 19, "calls at an earlier moment go on"


def test_an_image_that_was_crowded_out_is_built_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMAGES_HELD_MAX", 1)
    monkeypatch.setattr(limits, "COMPONENT_IMAGES_HELD_MAX", 1)
    engine = CountingEngine()
    images = Images(engine, SYSTEM)  # type: ignore[arg-type]
    several = [catalog_of(deployment, ts, ROUND=str(ts)) for ts in (1, 2, 3)]
    for catalog in (*several, several[0]):
        asked(images, deployment, catalog)
    assert engine.built == 4 and images.held == 2
