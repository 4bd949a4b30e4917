"""Run this example: start a server, push the functions, serve the page. What `make run` calls.

Nothing here is private to the example: it uses the `tidelog` command and the npm packages as anyone would.
PORT, SITE_PORT and PAGE_PORT choose the ports, TIDELOG_DATA the data folder. SIGINT or SIGTERM ends
everything; no process is left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn
from urllib.request import urlopen

EXAMPLE = Path(__file__).resolve().parent
TIDELOG = Path(sys.executable).with_name("tidelog")
HOST = "127.0.0.1"
PORT = int(os.environ.get("PORT", "3210"))
SITE_PORT = int(os.environ.get("SITE_PORT", "3211"))
PAGE_PORT = int(os.environ.get("PAGE_PORT", "3000"))
DATA = os.environ.get("TIDELOG_DATA", ".tidelog")
URL = f"http://{HOST}:{PORT}"
READY_SECONDS_MAX = 180
STOP_SECONDS_MAX = 30


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a background shell job ignores it
        signal.signal(number, _interrupt)
    page = bind_page()  # first: a taken port is said before anything is started
    server: subprocess.Popen[bytes] | None = None
    try:
        admin_key = read_admin_key()
        server = start_server()
        push(admin_key)
        bundle()
        threading.Thread(target=page.serve_forever, daemon=True).start()
        print(f"\nOpen http://{HOST}:{PAGE_PORT} in two tabs. Ctrl-C stops everything.")
        print(f"  Server     {URL}   (HTTP actions on port {SITE_PORT}, data in {DATA})")
        print(f"  Functions  docs/examples/chat/convex   Admin key  {admin_key}", flush=True)
        sys.exit(server.wait())  # runs until a signal, or until the server ends by itself
    except KeyboardInterrupt:
        print("\nStopping ...", flush=True)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server is not None:
            stop_server(server)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def read_admin_key() -> str:
    """The data folder's key, which exists before the server runs."""
    command = [TIDELOG, "admin-key", "--data", DATA]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return printed.splitlines()[-1]


def start_server() -> subprocess.Popen[bytes]:
    """Start `tidelog dev` and wait until it answers."""
    print("Starting the server ...", flush=True)
    command = [TIDELOG, "dev", "--data", DATA, "--port", str(PORT), "--site-port", str(SITE_PORT)]
    # A session of its own: the terminal's Ctrl-C reaches only us, and we stop it in order.
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until_ready(server)
    except BaseException:
        stop_server(server)
        raise
    return server


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    for _ in range(READY_SECONDS_MAX * 5):
        try:
            server.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if answers():
                return
        else:
            raise SystemExit("The server did not start; the reason is above.")
    raise SystemExit(f"The server was not ready after {READY_SECONDS_MAX} s; see {DATA}/logs.")


def answers() -> bool:
    try:
        with urlopen(f"{URL}/version", timeout=1) as reply:
            return reply.status == 200
    except OSError:
        return False


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends the server and everything it started; SIGKILL only if it hangs."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def push(admin_key: str) -> None:
    """Type-check, bundle and deploy `convex/` with the unmodified Convex CLI."""
    print("Pushing the functions ...", flush=True)
    target = {"CONVEX_SELF_HOSTED_URL": URL, "CONVEX_SELF_HOSTED_ADMIN_KEY": admin_key}
    npx("convex", "dev", "--once", environment=target)


def bundle() -> None:
    """The page and its client into `dist/`."""
    define = f'--define:CONVEX_URL="{URL}"'
    options = ["--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]
    npx("esbuild", "web/main.ts", *options, define, "--outfile=dist/main.js")
    for name in ("index.html", "style.css"):
        shutil.copy(EXAMPLE / "web" / name, EXAMPLE / "dist" / name)


def npx(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run a locally installed npm command; its output is ours, its failure ends us."""
    variables = {**os.environ, **(environment or {})}
    variables.pop("CONVEX_DEPLOYMENT", None)  # would name a deployment in the cloud
    finished = subprocess.run(["npx", "--no-install", *command], cwd=EXAMPLE, env=variables)
    if finished.returncode != 0:
        raise SystemExit(f"`npx {' '.join(command)}` failed with status {finished.returncode}.")


class PageHandler(SimpleHTTPRequestHandler):
    """Serves `dist/`; the newest build, and no line per request."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def bind_page() -> ThreadingHTTPServer:
    handler = partial(PageHandler, directory=str(EXAMPLE / "dist"))
    try:
        return ThreadingHTTPServer((HOST, PAGE_PORT), handler)
    except OSError as refusal:
        raise SystemExit(f"Port {PAGE_PORT} cannot be served: {refusal}. Choose PAGE_PORT.") from None


if __name__ == "__main__":
    main()
