"""What the gateway's rooms share: the backend, the result cache, the function log, the sockets.

Built once per gateway, on its event loop. `on_defect` stops the gateway: a broken invariant must not be
answered and survived. The heartbeat is one timer for all sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qs

from gateway.admin_keys import AdminKeys
from gateway.authenticator import Authenticator
from gateway.backend import Backend, FunctionCall, FunctionOutcome, GatewaySettings
from gateway.concurrency import QUEUED
from gateway.function_log import FunctionLog
from gateway.http import HttpRequest
from gateway.identity import AdminCredentials, UserToken, read_credentials
from gateway.query_runner import QueryRunner
from gateway.sync_socket import Checkers, SyncContext
from log.identity import UNKNOWN, Identity
from log.limits import GATEWAY_HEARTBEAT_SECONDS


class GatewayCore:
    """`start` before the first request, `stop` after the last."""

    def __init__(
        self, backend: Backend, settings: GatewaySettings, on_defect: Callable[[BaseException], None]
    ) -> None:
        self.backend, self.settings, self.on_defect = backend, settings, on_defect
        self.function_log = FunctionLog()
        self.runner = QueryRunner(backend, settings, self.function_log, on_defect)
        self.authenticator = Authenticator(self.runner, redact=settings.redact_errors)
        self.admin_keys = AdminKeys(self.runner, settings)
        checkers = Checkers(self.authenticator, self.admin_keys)
        self.sync = SyncContext(backend, settings, self.runner, checkers, self.function_log, on_defect)
        self.responses: Counter[int] = Counter()  # of HTTP, by the first digit of their status
        self.is_draining = False  # set once, when a stop begins
        self._timer: asyncio.TimerHandle | None = None
        backend.listen_to_jobs(self._job_ran)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(GATEWAY_HEARTBEAT_SECONDS, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def facts(self) -> dict[str, int]:
        """What this gateway has and has done, for operators."""
        runner, cache = self.runner, self.runner.cache
        return {
            "sockets_open": len(self.sync.sockets),
            "live_queries": cache.registrations,
            "queries_watched": cache.holds,
            "results_bytes": cache.size_bytes,
            "cache_hits": runner.cache_hits,
            "cache_misses": runner.cache_misses,
            "query_runs": runner.runs_started,
            "log_entries_dropped": self.function_log.entries_dropped,
        }

    async def identify(self, request: HttpRequest) -> Identity:
        """Who sends this request: by Authorization, or by `adminKey=` in the address (spec 01 2.1)."""
        authorization = request.header(b"authorization")
        parameter = None
        if authorization is None and b"adminKey=" in request.query_string:
            parameter = parse_qs(request.query_string.decode("latin-1")).get("adminKey", [None])[-1]
        match read_credentials(authorization, parameter):
            case UserToken(token):
                return (await self.authenticator.check(token)).identity
            case AdminCredentials(credentials):
                return await self.admin_keys.identify(credentials)
            case _:
                return UNKNOWN

    def _job_ran(self, call: FunctionCall, outcome: FunctionOutcome) -> None:
        self.function_log.add(call, outcome, outcome.udf_type or "Mutation", time.time())

    def note_concurrency(self) -> None:
        """How much ran and waited until now, for the charts."""
        usage = self.function_log.usage
        usage.concurrency.note("Mutation", QUEUED, self.sync.mutations_waiting)
        usage.note_concurrency(time.time())

    def _beat(self) -> None:
        self.sync.heartbeat()
        self.note_concurrency()
        self.start()
