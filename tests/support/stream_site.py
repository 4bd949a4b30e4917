"""A deployment in this process behind its gateway, as connectors ask it (spec 02 20)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from cluster.local_runtime import LocalRuntime
from cluster.stores import open_log_store
from functions.transaction import Transaction
from gateway.app import build_app
from gateway.backend import GatewaySettings
from gateway.core import GatewayCore
from log import values
from log.blob_store import LocalBlobStore
from log.limits import UNDO_SECONDS
from log.secrets import issue_admin_key

from .javascript import engine
from .recorded import RecordedServer

Shown = dict[str, Any]
Name = tuple[str, str, str]
"""A document by its component, its table and its id."""


class StreamSite(RecordedServer):
    """Enter it; then `ask` as a connector does, and `write` as anybody else."""

    def __init__(self, folder: Path, log_url: str = "") -> None:
        super().__init__(folder)
        self._log_url = log_url
        self._blobs = LocalBlobStore(folder / "files")
        self.settings = replace(self.settings, blobs=self._blobs)
        self.defects: list[BaseException] = []

    async def __aenter__(self) -> StreamSite:
        store = open_log_store(self._log_url, self.folder / "log") if self._log_url else None
        self._runtime = LocalRuntime(self.folder, engine(), self.settings, store=store)
        await self._runtime.start()
        known = self.credentials
        settings = GatewaySettings(known.instance_name, known.instance_secret)
        app: Any = build_app(GatewayCore(self._runtime.backend, settings, self.defects.append), self._blobs)
        transport = httpx.ASGITransport(app=app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway/api/")
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.client.aclose()
        await super().__aexit__(*failure)
        assert self.defects == []

    # --- writing ------------------------------------------------------------------------------------

    async def write(self, work: Callable[[Transaction], None]) -> int:
        """Commit what `work` does; returns the ts."""

        def run(transaction: Transaction, _context: object) -> bytes:
            work(transaction)
            return b""

        _, ts = await self._runtime.executor._system.transact("test:write", os.urandom(16), run)
        return ts

    async def insert(self, table: str, *documents: dict[str, Any], component: str = "") -> list[str]:
        ids: list[str] = []

        def work(transaction: Transaction) -> None:
            transaction.enter_component(component)
            ids[:] = [transaction.insert(table, document) for document in documents]

        await self.write(work)
        return ids

    async def import_lines(self, mode: str, table: str, lines: bytes) -> None:
        """Import JSON lines as the CLI does, to the end."""
        token = (await self._administer("import/start_upload"))["uploadToken"]
        part = await self._administer(f"import/upload_part?uploadToken={token}&partNumber=1", content=lines)
        wanted = {"tableName": table, "mode": mode, "format": "jsonLines"}
        finish = {"import": wanted, "uploadToken": token, "partTokens": [part]}
        import_id = (await self._administer("import/finish_upload", json=finish))["importId"]
        query = {"path": "_system/cli/queryImport", "args": {"importId": import_id}}
        state = ""
        async with asyncio.timeout(60):
            while state != "completed":
                assert state != "failed"
                await asyncio.sleep(0.005)  # a cached answer suspends nobody: the import must have its turn
                state = (await self._administer("query", json=query))["value"]["state"]["state"]
                if state == "waiting_for_confirmation":
                    await self._administer("perform_import", json={"importId": import_id})

    async def _administer(self, path: str, **request: Any) -> Any:
        headers = {"Authorization": f"Convex {self.key(read_only=False)}"}
        answer = await self.client.post(path, headers=headers, **request)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    async def everything(self) -> dict[Name, bytes]:
        """Every document of every user table now, by the plainest of all ways: its canonical text."""
        found: dict[Name, bytes] = {}

        def work(transaction: Transaction) -> None:
            for catalog in transaction.catalog.everywhere():
                for table in catalog.user_tables():
                    for document in transaction.all_documents(table):
                        name = catalog.component.path, table.name, document["_id"]
                        found[name] = values.dumps(document)

        await self.write(work)
        return found

    def forget_past(self) -> None:
        """As if nothing older than now could be read from the view any more."""
        shard = self.core_actor._shard
        while shard.prune(time.time_ns() + 2 * UNDO_SECONDS * 10**9):
            pass

    # --- asking -------------------------------------------------------------------------------------

    def key(self, *, read_only: bool = True) -> str:
        known = self.credentials
        return issue_admin_key(known.instance_secret, known.instance_name, 1, read_only=read_only)

    async def request(self, operation: str, **arguments: Any) -> httpx.Response:
        """By GET, with a key that may only read."""
        texts = {name: _text(value) for name, value in arguments.items() if value is not None}
        headers = {"Authorization": f"Convex {self.key()}", "Convex-Client": "airbyte-export-0.2.0"}
        return await self.client.get(operation, params=texts, headers=headers)

    async def ask(self, operation: str, **arguments: Any) -> Any:
        answer = await self.request(operation, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refusal(self, operation: str, **arguments: Any) -> tuple[int, str]:
        answer = await self.request(operation, **arguments)
        return answer.status_code, answer.json().get("code")

    async def post(self, operation: str, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Convex {self.key()}"}
        return await self.client.post(operation, json=body, headers=headers)


def _text(argument: Any) -> str:
    return str(argument).lower() if isinstance(argument, bool) else str(argument)


def run_site(folder: Path, scenario: Callable[[StreamSite], Awaitable[None]], log_url: str = "") -> None:
    """A scenario, from the start of the deployment to its clean stop."""

    async def whole() -> None:
        async with StreamSite(folder, log_url) as site:
            await scenario(site)

    asyncio.run(whole())


def name_of(shown: Shown) -> Name:
    return shown["_component"], shown["_table"], shown["_id"]


def document_of(shown: Shown) -> bytes:
    """The canonical text of the document that a page shows in the encoded format."""
    marks = ("_component", "_table", "_ts", "_deleted")
    return values.dumps(values.decode({name: value for name, value in shown.items() if name not in marks}))


async def nothing(_page_number: int) -> None:
    return None


async def pages_of(
    site: StreamSite, between: Callable[[int], Awaitable[object]] = nothing, **asked: Any
) -> tuple[int, list[list[Shown]]]:
    """All pages of a snapshot; `between` runs after each, and is told how many there were."""
    page = await site.ask("list_snapshot", **asked)
    pages = [page["values"]]
    while page["hasMore"]:
        await between(len(pages))
        page = await site.ask("list_snapshot", **{**asked, "cursor": page["cursor"]})
        pages.append(page["values"])
    assert page["cursor"] is None
    return page["snapshot"], pages
