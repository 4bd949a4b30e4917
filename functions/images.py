"""Which image serves a catalog: module texts out of the database, built once per bundle (design D11).

The key is what the image is made of (module hashes, environment, import seed and time), so a push that
changes nothing keeps the image, and every executor builds the same one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from functions.catalog import SITE_URL, Catalog
from functions.isolate import Engine, Image, ImageRequest
from functions.snapshot import SnapshotReader
from functions.source_map import SourceMap
from functions.system.tables import SYSTEM_TABLE_BY_NAME, index_id_of
from log import limits
from log.invariant import invariant
from log.keys import PREFIX_END, encode_item

NANOSECONDS_PER_MS = 1_000_000
_BY_SHA256 = index_id_of(SYSTEM_TABLE_BY_NAME["_module_sources"], 2)
NOT_EVALUATED = ("auth.config.js", "schema.js", "convex.config.js")


@dataclass(frozen=True, slots=True)
class ModuleText:
    """The pushed text of one module; `source_map` "" when there is none."""

    source: str
    source_map: str


def is_entry(path: str) -> bool:
    """Whether the module is evaluated for itself, not only when another imports it."""
    return not path.startswith(("_deps/", "actions/_deps/")) and path not in NOT_EVALUATED


class Images:
    """The images of one executor: those that the newest few catalogs are served with."""

    def __init__(self, engine: Engine, system_environment: dict[str, str]) -> None:
        self._engine = engine
        self._system_environment = system_environment
        self._images: OrderedDict[bytes, Image] = OrderedDict()
        self._keys: OrderedDict[int, dict[str, bytes]] = OrderedDict()  # catalog ts -> component -> image
        self._source_maps: OrderedDict[str, SourceMap | None] = OrderedDict()

    @property
    def held(self) -> int:
        return len(self._images)

    def image_of(self, catalog: Catalog, snapshot: SnapshotReader) -> Image:
        """The image of the catalog's modules, built when it is the first call for them."""
        keys = self._keys.get(catalog.ts)
        if keys is None:
            keys = self._take_up(catalog.ts)
        key = keys.get(catalog.component.path)
        image = self._images.get(key) if key is not None else None
        return image if image is not None else self._find_or_build(catalog, snapshot, keys)

    def _take_up(self, catalog_ts: int) -> dict[str, bytes]:
        """Another catalog; images that no held one is served with are forgotten with the oldest."""
        keys = self._keys[catalog_ts] = {}
        if len(self._keys) > limits.CATALOGS_HELD_MAX:
            self._keys.popitem(last=False)
            served = {key for each in self._keys.values() for key in each.values()}
            for key in self._images.keys() - served:
                del self._images[key]
        return keys

    def _find_or_build(self, catalog: Catalog, snapshot: SnapshotReader, keys: dict[str, bytes]) -> Image:
        """Catalogs that differ in tables or schemas only share an image."""
        environment = environment_of(catalog, self._system_environment)
        key = keys[catalog.component.path] = _key_of(catalog, environment)
        image = self._images.get(key)
        if image is None:
            image = self._engine.build_image(_request_of(catalog, snapshot, environment))
            self._images[key] = image
            if len(self._images) > limits.IMAGES_HELD_MAX + limits.COMPONENT_IMAGES_HELD_MAX:
                self._images.popitem(last=False)
        self._images.move_to_end(key)
        return image

    def source_map_of(self, catalog: Catalog, snapshot: SnapshotReader, path: str) -> SourceMap | None:
        module = catalog.modules.get(path)
        if module is None:
            return None
        if module.sha256 not in self._source_maps:
            self._forget_source_maps_but(catalog)
            text = read_module(snapshot, module.sha256)
            self._source_maps[module.sha256] = (
                SourceMap(text.source_map) if text and text.source_map else None
            )
            if len(self._source_maps) > limits.SOURCE_MAPS_HELD_MAX:
                self._source_maps.popitem(last=False)
        return self._source_maps[module.sha256]

    def _forget_source_maps_but(self, catalog: Catalog) -> None:
        """Maps of earlier pushes: nobody asks for them again, and one may hold a MiB."""
        served = {module.sha256 for module in catalog.every_module()}
        for sha256 in self._source_maps.keys() - served:
            del self._source_maps[sha256]


def environment_of(catalog: Catalog, system: Mapping[str, str]) -> dict[str, str]:
    """What `process.env` of a component's functions holds; its site is below the app's (spec 03 5.5)."""
    built_in = catalog.built_in_variables(system)
    return visible_environment(catalog.component.http_prefix, catalog.environment, built_in)


def visible_environment(
    http_prefix: str | None, own: Mapping[str, str], system: Mapping[str, str]
) -> dict[str, str]:
    """`environment_of`, of a component that may be none yet: `own` are its variables."""
    if http_prefix is None:
        return {**system, **own}
    site = system[SITE_URL] + http_prefix.rstrip("/")
    return {**system, SITE_URL: site, **own}


def read_module(snapshot: SnapshotReader, sha256: str) -> ModuleText | None:
    """A module's text by its content hash."""
    prefix = encode_item(sha256)
    rows = snapshot.scan(_BY_SHA256, prefix, prefix + PREFIX_END, descending=False, limit=1)
    if not rows:
        return None
    document = orjson.loads(rows[0].document)
    return ModuleText(document["source"], document["sourceMap"])


def _key_of(catalog: Catalog, environment: dict[str, str]) -> bytes:
    modules = sorted(
        (module.path, module.sha256) for module in catalog.modules.values() if not module.is_node
    )
    config = catalog.udf_config or {}
    parts = [modules, sorted(environment.items()), config.get("importPhaseUnixTimestamp", 0)]
    seed = config.get("importPhaseRngSeed", b"")
    return hashlib.sha256(orjson.dumps(parts) + seed).digest()


def _request_of(catalog: Catalog, snapshot: SnapshotReader, environment: dict[str, str]) -> ImageRequest:
    modules = ((module.path, module.sha256) for module in catalog.modules.values() if not module.is_node)
    return stored_image_request(modules, snapshot, environment, catalog.udf_config)


def stored_image_request(
    modules: Iterable[tuple[str, str]],
    snapshot: SnapshotReader,
    environment: dict[str, str],
    udf_config: dict[str, object] | None,
) -> ImageRequest:
    """The request for modules of our own runtime that have their texts: (path, hash)."""
    sources = {}
    for path, sha256 in modules:
        if path not in NOT_EVALUATED:
            text = read_module(snapshot, sha256)
            invariant(text is not None, "a module row has its text", path=path)
            sources[path] = text.source.encode() if text is not None else b""
    return image_request(sources, environment, udf_config)


def image_request(
    sources: dict[str, bytes], environment: dict[str, str], udf_config: dict[str, object] | None
) -> ImageRequest:
    """The request both a push's analysis and the later calls make, so that they see one evaluation."""
    config = udf_config or {}
    seed, ts = config.get("importPhaseRngSeed", bytes(32)), config.get("importPhaseUnixTimestamp", 0)
    assert isinstance(seed, bytes) and isinstance(ts, int)
    return ImageRequest(
        modules=sources,
        entries=tuple(sorted(path for path in sources if is_entry(path))),
        environment=environment,
        import_now_ms=float(ts // NANOSECONDS_PER_MS),
        import_seed=seed,
    )
