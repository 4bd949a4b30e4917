"""The images a staged push will need, before it is activated (design D11).

Executors build them while they still serve the old code, so that the first call after the push does not wait
for it. Only a head start: whoever lacks an image builds it when it is called for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from functions.catalog import NODE
from functions.components import APP_PATH, bound_environment
from functions.images import stored_image_request, visible_environment
from functions.isolate import ImageRequest
from functions.snapshot import SnapshotReader
from functions.system.staged_push import StagedInstance, StagedPush


def image_requests(
    staged: StagedPush, snapshot: SnapshotReader, system_environment: Mapping[str, str]
) -> Iterator[ImageRequest]:
    """That of the app, then those of its components: equal to what functions/images.py asks for once the push
    is active. `snapshot` has the texts of the staged modules."""
    udf_config = {"importPhaseRngSeed": staged.import_seed, "importPhaseUnixTimestamp": staged.import_ts}
    variables: dict[str, Mapping[str, str]] = {}
    for instance in staged.instances:
        own = variables[instance.path] = _variables(staged, instance, variables)
        environment = visible_environment(instance.http_prefix, own, system_environment)
        modules = staged.definitions[instance.definition_path].modules
        named = ((module.path, module.sha256) for module in modules if module.environment != NODE)
        yield stored_image_request(named, snapshot, environment, udf_config)


def _variables(
    staged: StagedPush, instance: StagedInstance, known: Mapping[str, Mapping[str, str]]
) -> Mapping[str, str]:
    """Parents come first."""
    if instance.path == APP_PATH:
        return staged.environment
    return bound_environment(instance.bindings, known[instance.path.rpartition("/")[0]])
