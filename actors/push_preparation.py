"""What an executor does before a push is activated: it builds the images of the new code.

On a thread of its own, so that calls of the old code go on; JavaScript needs a core and not the interpreter's
lock. Nobody depends on it: a push that could not be prepared is activated all the same, and the first call of
the new code builds its image.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import islice

import orjson

from actors.chain import Attempt
from actors.javascript_threads import JavaScriptThread
from functions.isolate import Engine
from functions.system.push_images import image_requests
from functions.system.staged_push import find_push
from log.invariant import InvariantViolation
from log.limits import IMAGES_HELD_MAX

_logger = logging.getLogger(__name__)


class PushPreparation:
    """Of one executor."""

    def __init__(
        self,
        engine: Engine,
        system_environment: Mapping[str, str],
        begin_reading: Callable[[None], Awaitable[Attempt]],
    ) -> None:
        self._engine, self._system_environment = engine, system_environment
        self._begin_reading = begin_reading
        self._thread = JavaScriptThread()
        self._is_closed = False

    async def prepare(self, body: bytes) -> None:
        """Build what the push needs that this finish_push request names; nothing when there is none. No more
        images than the engine keeps: the app's, and those of its first components. What cannot be prepared is
        logged, and the activation says what is wrong with it."""
        try:
            await self._prepare(body)
        except InvariantViolation:
            raise
        except Exception:
            _logger.warning("a push could not be prepared", exc_info=True)

    async def _prepare(self, body: bytes) -> None:
        request, transaction = orjson.loads(body), (await self._begin_reading(None)).transaction
        found = find_push(transaction, request.get("startPush")) if isinstance(request, dict) else None
        if found is None or not found[1].builds_indexes:
            return
        built_in = transaction.catalog.built_in_variables(self._system_environment)
        wanted = image_requests(found[1], transaction.snapshot, built_in)
        for each in list(islice(wanted, IMAGES_HELD_MAX)):
            if self._is_closed:
                return
            await self._thread.run(partial(self._engine.build_image, each))

    def close(self) -> None:
        """Begin no further image. The one under way holds nobody up."""
        self._is_closed = True
        self._thread.close()
