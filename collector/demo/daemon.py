"""The daemon as the demo sees it: a process, its listeners, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from collector.demo import wire
from collector.demo.process import Process, step
from collector.demo.report import Balance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.demo.payloads import Way
    from collector.demo.stage import Stage

POLL = 0.03
"""Seconds between two looks at what takes a second at most."""


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon says of a lane."""

    name: str
    state: str
    reason: str
    pending_events: int

    def __str__(self) -> str:
        return f"lane {self.name}: {self.state}, {self.pending_events} pending {self.reason}".rstrip()


class LedgerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon says became of a lane's events of one day."""

    lane: str
    accepted: int
    pending: int
    delivered: int
    dead: int
    expired: int
    evicted: int
    damaged: int


class ListenerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon says of a listener."""

    address: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /v1/status`, what the demo looks at."""

    listeners: list[ListenerStatus]
    lanes: list[LaneStatus]
    ledger: list[LedgerStatus]

    @property
    def pending(self) -> int:
        """Events that wait, in all lanes."""
        return sum(lane.pending_events for lane in self.lanes)

    def balances(self) -> dict[str, Balance]:
        """The ledger by dialect."""
        rows: dict[str, Balance] = {}
        for row in self.ledger:
            dialect = row.lane.split("/")[1]
            before = rows.get(dialect, Balance())
            rows[dialect] = Balance(
                accepted=before.accepted + row.accepted,
                pending=before.pending + row.pending,
                delivered=before.delivered + row.delivered,
                dead=before.dead + row.dead,
                gone=before.gone + row.expired + row.evicted + row.damaged,
            )
        return rows


class Daemon(Process):
    """`waystation run`, as often as it is started."""

    def __init__(self, stage: Stage, *, environ: Mapping[str, str]) -> None:
        arguments = ("-m", "collector", "run", "--config", str(stage.config))
        super().__init__("daemon", *arguments, directory=stage.directory, environ=environ)
        self._admin = stage.admin
        self._unix = stage.unix
        self._tcp = ""
        self._up = trio.Event()
        self.starts = 0

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        with step("the daemon starts", self):
            process = await self.spawn()
            while not await self._is_ready():
                if process.poll() is not None:
                    raise OSError(f"it ended at once, with {process.returncode}")
                await trio.sleep(POLL)
            addresses = [listener.address for listener in (await self.status()).listeners]
            self._tcp = next(address for address in addresses if not address.startswith("unix:"))
            self.starts += 1
            self._up.set()

    async def _is_ready(self) -> bool:
        try:
            return (await self._ask("/readyz")).status == wire.OK
        except (OSError, wire.Broken):
            return False

    def kill(self) -> None:
        """SIGKILL: it is gone at once, with whatever it was at."""
        self._up = trio.Event()
        super().kill()

    @property
    def is_up(self) -> bool:
        """Whether it was started and not killed since."""
        return self._up.is_set()

    async def address(self, way: Way) -> str:
        """Wait until it is up; returns where one of its listeners is."""
        await self._up.wait()
        return self._tcp if way == "tcp" else self._unix

    async def status(self) -> Status:
        """What it says of itself."""
        return msgspec.json.decode((await self._ask("/v1/status")).body, type=Status)

    async def _ask(self, path: str) -> wire.Message:
        connection = await wire.connect(self._admin)
        try:
            return await connection.ask("GET", path)
        finally:
            await connection.aclose()

    async def drained(self, what: str, *others: Process) -> Status:
        """Wait until nothing is pending; returns the status then."""
        lanes: list[LaneStatus] = []
        with step(what, self, *others, detail=lambda: "\n".join(map(str, lanes))):
            while True:
                status = await self.status()
                lanes = status.lanes
                if lanes and not status.pending:
                    break
                await trio.sleep(POLL)
        return status
