"""The shell around `log/turns.py`: who waits for a turn is told, and no turn is held for ever.

A turn ends at the admission of its holder's commit, at a refusal, when the holder gives it back, when its
connection is lost, or after TURN_SECONDS_MAX. Later proposals under it are judged like anybody's.
"""

from __future__ import annotations

import asyncio
import itertools

from actors.runtime import Client
from log.errors import commit_queue_full
from log.limits import COMMIT_QUEUE_LENGTH_MAX, TURN_SECONDS_MAX
from log.turns import Footprint, Turns


class TurnKeeper:
    """One per commit log. `first_ticket` is above every ticket of an earlier writer, so that a holder
    that outlived it holds nothing here."""

    def __init__(self, first_ticket: int) -> None:
        self.turns = Turns()
        self._tickets = itertools.count(first_ticket)
        self._clients: dict[int, Client] = {}  # by ticket, as long as it is held or waited for
        self._granted: dict[int, asyncio.Future[None]] = {}  # of those who wait
        self._timers: dict[int, asyncio.TimerHandle] = {}  # of those who hold
        self.turns_taken = 0

    async def take(self, client: Client, footprint: Footprint) -> int:
        """Wait for a turn; returns its ticket. Refused when too many wait already."""
        if len(self.turns) >= COMMIT_QUEUE_LENGTH_MAX:
            raise commit_queue_full()
        ticket = next(self._tickets)
        self._clients[ticket] = client
        self.turns_taken += 1
        if self.turns.ask(ticket, footprint):
            self._grant(ticket)
        else:
            granted = self._granted[ticket] = asyncio.get_running_loop().create_future()
            try:
                await granted
            except asyncio.CancelledError:
                self.end(ticket)  # also when it was granted just before
                raise
        return ticket

    def end(self, ticket: int) -> None:
        """Give a turn back, or stop waiting for it; a ticket that ended before changes nothing."""
        self._clients.pop(ticket, None)
        timer = self._timers.pop(ticket, None)
        if timer is not None:
            timer.cancel()
        given_up = self._granted.pop(ticket, None)
        if given_up is not None:
            given_up.cancel()
        for next_ticket in self.turns.end(ticket):
            granted = self._granted.pop(next_ticket)
            if not granted.done():  # else it was cancelled just now, and gives the turn back itself
                granted.set_result(None)
            self._grant(next_ticket)

    def disconnected(self, client: Client) -> None:
        for ticket in [ticket for ticket, owner in self._clients.items() if owner is client]:
            self.end(ticket)

    def _grant(self, ticket: int) -> None:
        loop = asyncio.get_running_loop()
        self._timers[ticket] = loop.call_later(TURN_SECONDS_MAX, self.end, ticket)
