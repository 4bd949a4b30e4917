"""One Node action under way: the process runs JavaScript, we do what it asks for, until it has settled.

What the process says is taken as said by user code, which can reach the same descriptors: a message that
makes no sense ends the call as if the process had been lost, and does no harm beyond it.

Read in this order: settle, _serve, _operation.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

from actors.node_process import Message, NodeProcess
from actors.running_operations import Operations, RunningOperations
from functions.action import ActionHost
from functions.errors import unknown_operation
from functions.isolate import AnswerError, Settled, Terminated
from functions.node_action import (
    LOST,
    OUT_OF_MEMORY,
    STUCK,
    NodeLogLines,
    PreparedNodeAction,
    call_message,
    settled_of,
)
from functions.syscalls import rejection
from log.errors import BackendError
from log.limits import NODE_ACTION_SECONDS_MAX, NODE_ACTION_STUCK_SECONDS

_logger = logging.getLogger(__name__)


class NodeRun:
    """One call in one process. Used on the event loop's thread.

    After `settle`: `host.logs`, the `unawaited` operations, and the process's `memory_bytes`, None when it
    must not be used again.
    """

    def __init__(self, prepared: PreparedNodeAction, process: NodeProcess, operations: Operations) -> None:
        self._prepared, self._process = prepared, process
        self._call_id = str(uuid.uuid4())
        self._running = RunningOperations(_NodeOperations(operations), self._answer)
        self.host = ActionHost(prepared.context, self._running.begin, self._running.tell)
        self.host.logs = NodeLogLines()
        self.unawaited: list[str] = []
        self.memory_bytes: int | None = None

    async def settle(self) -> Settled:
        """Run the action to its end, or to the end of its time; the runner itself watches the latter."""
        try:
            async with asyncio.timeout(NODE_ACTION_SECONDS_MAX + NODE_ACTION_STUCK_SECONDS) as limit:
                return await self._serve()
        except TimeoutError:
            if not limit.expired():
                raise
            return STUCK
        finally:
            await self._running.end()

    async def _serve(self) -> Settled:
        self._process.send(call_message(self._prepared, self._call_id))
        while (message := await self._process.receive()) is not None:
            if self._running.defect is not None:
                raise self._running.defect
            match message:
                case {"kind": "console", "level": str(level), "messages": [*texts]}:
                    self.host.console(level, [str(text) for text in texts])
                case {"kind": "operation", "id": int(call_id), "name": str(name), "args": str(args)}:
                    self._operation(call_id, name, args.encode())
                case {"kind": "settled", "unawaited": [*names], "memoryBytes": int(memory_bytes)}:
                    self.unawaited = [str(name) for name in names]
                    self.memory_bytes = memory_bytes if message.get("isReusable") is True else None
                    return settled_of(message, self._prepared.context.invocation.path.function)
                case _:
                    break
        return await self._lost()

    async def _lost(self) -> Terminated:
        await self._process.end()
        said = (await self._process.last_words()).decode(errors="replace")
        _logger.warning("node process %d was lost in the middle of a call: %s", self._process.pid, said)
        return OUT_OF_MEMORY if await self._process.ran_out_of_memory() else LOST

    def _operation(self, call_id: int, name: str, args: bytes) -> None:
        try:
            answer = self.host.async_syscall(call_id, name, args)
        except BackendError as refused:
            self._answer(call_id, rejection(refused))
        else:
            if answer is not None:
                self._answer(call_id, answer)

    def _answer(self, call_id: int, answer: bytes | AnswerError) -> None:
        message: Message = {"kind": "answer", "call": self._call_id, "id": call_id}
        if isinstance(answer, AnswerError):
            data = answer.data_json
            message["error"] = {
                "message": answer.message,
                "data": data.decode() if data is not None else None,
            }
        else:
            message["value"] = answer.decode()
        self._process.send(message)


class _NodeOperations:
    """Operations as Node actions know them: what does not exist is not called asynchronous (spec 03 5.6)."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self.tell, self.close = operations.tell, operations.close

    async def perform(self, name: str, arguments: dict[str, Any]) -> bytes | AnswerError:
        try:
            return await self._operations.perform(name, arguments)
        except BackendError as refused:
            if refused.code == "UnknownAsyncOperation":
                raise unknown_operation(name) from refused
            raise
