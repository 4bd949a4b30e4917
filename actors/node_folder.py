"""Where Node processes find the modules they run: a folder for each bundle, named by its content.

The packages that they import are beside them, by a link (actors/node_packages.py). A folder appears complete,
by renaming, and is not changed afterwards. The newest few are kept; what is missing is written again from the
database.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from actors.node_packages import MODULES
from functions.node_bundle import NodeBundle
from log.limits import NODE_BUNDLES_HELD_MAX

_PACKAGE = '{"type":"module"}\n'


class NodeFolder:
    """The bundles below one path, which nobody else uses. What an earlier process left there goes first."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._written: OrderedDict[str, Path] = OrderedDict()
        shutil.rmtree(self._path, ignore_errors=True)

    def bundle(
        self, bundle: NodeBundle, sources: Callable[[], dict[str, str]], packages: Path | None
    ) -> Path:
        """The folder of these modules. `sources` gives their texts, if they must be written; `packages` is
        the folder of their packages."""
        if bundle.code_key not in self._written:
            self._written[bundle.code_key] = self._write(bundle.code_key, sources(), packages)
            if len(self._written) > NODE_BUNDLES_HELD_MAX:
                _key, oldest = self._written.popitem(last=False)
                shutil.rmtree(oldest, ignore_errors=True)
        self._written.move_to_end(bundle.code_key)
        return self._written[bundle.code_key]

    def _write(self, name: str, sources: dict[str, str], packages: Path | None) -> Path:
        target = self._path / name
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = Path(tempfile.mkdtemp(dir=self._path))
        write_modules(unfinished, sources, packages)
        os.rename(unfinished, target)
        return target


def write_modules(folder: Path, sources: dict[str, str], packages: Path | None) -> None:
    """The modules below `folder`, as Node.js loads ES modules, with the packages where it looks for them.
    Their paths were checked at the push: none leads out of it, or to the packages."""
    (folder / "package.json").write_text(_PACKAGE)
    for path, source in sources.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source)
    if packages is not None:
        (folder / MODULES).symlink_to(packages / MODULES)
