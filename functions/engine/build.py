"""Build recipe of the JavaScript engine: `python -m functions.engine.build`.

Inputs: the C glue and the prelude beside this file, the QuickJS source of one PyPI sdist pinned by hash,
npm packages pinned by `package-lock.json`, the `ziglang` compiler. Outputs, in `build/`: `engine.wasm`,
one `.js` file for each part of the prelude, and one for the wrappers of inline queries. A stamp of all input
hashes makes a second run a no-op; a lock makes two runs at once safe.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from functions.engine import BUILD_FOLDER, LAZY_PARTS, PRELUDE_PARTS, QUERY_WRAPPERS

SOURCE_PROJECT = "quickjs-ng"
SOURCE_FILE = "quickjs_ng-0.17.0.2.tar.gz"
SOURCE_SHA256 = "43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef"
SOURCE_INDEX = f"https://pypi.org/simple/{SOURCE_PROJECT}/"
ENGINE_UNITS = ("quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c")
GLUE_UNITS = ("glue.c", "alloc.c")
SHADOW_STACK_BYTES = 1 << 20

# Switch dispatch is 10-18 % faster than computed goto once both are wasm (both become br_table).
DISPATCH_BEFORE = "#define DIRECT_DISPATCH  1"
DISPATCH_AFTER = "#define DIRECT_DISPATCH  0"

FOLDER = Path(__file__).parent
BUNDLED_PARTS = ("inspect", "analysis", *LAZY_PARTS, QUERY_WRAPPERS)
"""Parts of several files, npm packages among them; `prelude/NAME.entry.js` says which."""
LAZY_BANNER = "(function (host) { const module = { exports: {} }; let exports = module.exports;"
LAZY_FOOTER = "return module.exports; })"
"""Around a lazy part: its completion value is a function from the host's object to what it exports."""


def hash_of(*patterns: str, also: str = "") -> str:
    """One hash over the named inputs, this recipe and `also`."""
    digest = hashlib.sha256(also.encode() + Path(__file__).read_bytes())
    for path in sorted(path for pattern in patterns for path in FOLDER.glob(pattern)):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build() -> bool:
    """Bring `build/` up to date; False if it was already."""
    BUILD_FOLDER.mkdir(exist_ok=True)
    with open(BUILD_FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = renew(
            "engine", hash_of("*.[ch]", also=importlib.metadata.version("ziglang")), compile_engine
        )
        prelude = renew("prelude", hash_of("*.json", "prelude/**/*.*js", "__init__.py"), bundle_prelude)
    return engine or prelude


def renew(product: str, inputs: str, make: Callable[[], None]) -> bool:
    """Make the product unless its stamp names these inputs."""
    stamp = BUILD_FOLDER / f"{product}.stamp"
    if stamp.exists() and stamp.read_text() == inputs:
        return False
    make()
    stamp.write_text(inputs)  # AFTER the outputs: it vouches for them
    return True


def download_source() -> bytes:
    """The pinned sdist, from the cache in `build/` or from PyPI's index."""
    cached = BUILD_FOLDER / SOURCE_FILE
    if not cached.exists():
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        with urllib.request.urlopen(urllib.request.Request(SOURCE_INDEX, headers=accept)) as reply:
            listed = json.load(reply)["files"]
        url = next(entry["url"] for entry in listed if entry["filename"] == SOURCE_FILE)
        with urllib.request.urlopen(url) as reply:
            cached.write_bytes(reply.read())
    data = cached.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SOURCE_SHA256:
        cached.unlink()
        raise SystemExit(f"{SOURCE_FILE} has sha256 {found}, expected {SOURCE_SHA256}")
    return data


def unpack_source() -> Path:
    """The engine's C files, flat in one folder, with the one patch applied."""
    folder = BUILD_FOLDER / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(download_source())) as archive:
        for member in archive.getmembers():
            parent, _, name = member.name.rpartition("/")
            content = archive.extractfile(member)
            if content and parent.endswith("upstream-quickjs"):
                (folder / name).write_bytes(content.read())
    main = folder / "quickjs.c"
    text = main.read_text()
    if text.count(DISPATCH_BEFORE) != 1:
        raise SystemExit("quickjs.c changed: the dispatch patch does not apply")
    main.write_text(text.replace(DISPATCH_BEFORE, DISPATCH_AFTER))
    return folder


def compile_engine() -> None:
    source = unpack_source()
    output = BUILD_FOLDER / "engine.wasm.new"
    flags = ["-target", "wasm32-wasi", "-O2", "-DNDEBUG", "-D_GNU_SOURCE", "-mexec-model=reactor"]
    flags += ["-fno-sanitize=undefined", "-Wno-ignored-attributes", "-I", str(source), "-I", str(FOLDER)]
    link = [f"-Wl,-z,stack-size={SHADOW_STACK_BYTES}", "-Wl,--strip-all"]
    units = [str(FOLDER / name) for name in GLUE_UNITS] + [str(source / name) for name in ENGINE_UNITS]
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *flags, "-o", str(output), *units, *link], check=True
    )
    output.replace(BUILD_FOLDER / "engine.wasm")


def bundle_prelude() -> None:
    """Parts of one file are copied; the others are bundled with the locked esbuild."""
    npm = BUILD_FOLDER / "npm"
    npm.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, npm / name)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=npm, check=True)
    for part in (*PRELUDE_PARTS, *LAZY_PARTS, QUERY_WRAPPERS):
        if part in BUNDLED_PARTS:
            bundle_part(part, npm)
        else:
            shutil.copy(FOLDER / "prelude" / f"{part}.js", BUILD_FOLDER / f"{part}.js")


def bundle_part(part: str, npm: Path) -> None:
    """One script out of `prelude/NAME.entry.js` and all it imports."""
    options = ["--bundle", "--minify", "--platform=browser", "--target=es2022", "--log-level=warning"]
    if part in LAZY_PARTS:
        options += ["--format=cjs", f"--banner:js={LAZY_BANNER}", f"--footer:js={LAZY_FOOTER}"]
    elif part == QUERY_WRAPPERS:
        options += ["--format=esm"]
    else:
        options += ["--format=iife"]
    options += [f"--outfile={BUILD_FOLDER / part}.js"]
    subprocess.run(
        [npm / "node_modules" / ".bin" / "esbuild", FOLDER / "prelude" / f"{part}.entry.js", *options],
        env={**os.environ, "NODE_PATH": str(npm / "node_modules")},
        check=True,
    )


if __name__ == "__main__":
    print("built" if build() else "already up to date", BUILD_FOLDER)
