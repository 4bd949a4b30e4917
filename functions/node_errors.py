"""Refusals of Node actions: one constructor per code, texts as spec 03 4 and 5.6 fix them."""

from __future__ import annotations

from collections.abc import Iterable

from functions.node_packages import NodePackage
from log import limits
from log.errors import BackendError, ErrorKind, bad_request, size_text


def node_arguments_too_large() -> BackendError:
    return bad_request(
        "ArgsTooLarge",
        "Node actions arguments size is too large. The maximum size is "
        f"{size_text(limits.NODE_ACTION_ARGS_BYTES_MAX)}. Reduce the size of the arguments or consider using "
        "Convex runtime actions instead, which have a "
        f"{size_text(limits.FUNCTION_ARGS_BYTES_MAX)} limit. See https://docs.convex.dev/functions/runtimes",
    )


def node_not_installed(found: str) -> BackendError:
    """`found` = what there is instead."""
    return bad_request(
        "NodeNotInstalled",
        'Deployment is not configured to deploy "use node" actions. Node.js v20, 22, or 24 is not installed. '
        f"{found} Install one of these versions where the server runs, as `node` on its PATH.",
    )


def node_packages_not_installed(packages: Iterable[NodePackage], why: str) -> BackendError:
    """`why` = what npm says, or what kept it from being asked."""
    names = ", ".join(package.text for package in packages)
    return bad_request(
        "InvalidExternalModules",
        "The packages that `node.externalPackages` in convex.json leaves out of the bundle could not be "
        f"installed ({names}):\n{why}",
    )


def node_process_failed(why: str) -> BackendError:
    return BackendError(
        ErrorKind.OPERATIONAL, "NodeProcessFailed", f"A Node.js process could not be started: {why}"
    )
