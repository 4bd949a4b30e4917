"""What an executor needs to know of its deployment, and what runs functions by it: live or replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.catalog import CLOUD_URL, SITE_URL
from functions.images import Images
from functions.invocation import Runner
from functions.isolate import Engine
from functions.pages import CursorCodec
from functions.system.files import FileAccess
from log.blob_store import BlobStore
from log.limits import ACTIONS_RUNNING_MAX, NODE_ACTIONS_RUNNING_MAX
from log.token_signer import TokenSigner


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What an executor needs to know of the deployment."""

    instance_name: str
    instance_secret: bytes
    cloud_origin: str
    site_origin: str
    blobs: BlobStore | None = None  # of the server; without, functions neither read nor store files
    egress_refuse_private: bool = False
    node_folder: Path | None = None  # for the modules of Node actions; without, there are none
    actions_at_once_max: int = ACTIONS_RUNNING_MAX
    node_actions_at_once_max: int = NODE_ACTIONS_RUNNING_MAX
    node_packages_folder: Path | None = None  # where packages of Node modules are installed

    @property
    def system_environment(self) -> dict[str, str]:
        return {CLOUD_URL: self.cloud_origin, SITE_URL: self.site_origin}


def runner_of(engine: Engine, settings: ExecutorSettings) -> Runner:
    """What runs the deployment's functions: now, or once more from the log."""
    images = Images(engine, settings.system_environment)
    deployment = {"name": settings.instance_name, "region": None, "class": "self-hosted"}
    codec = CursorCodec(settings.instance_secret)
    signer = TokenSigner(settings.instance_secret, settings.cloud_origin)
    return Runner(engine, images, codec, deployment, files_of(settings), signer)


def files_of(settings: ExecutorSettings) -> FileAccess:
    return FileAccess(settings.cloud_origin, settings.instance_secret, settings.blobs)
