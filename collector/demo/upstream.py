"""The upstream as the demo sees it: a process that can be told to go away, and asked what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.demo import wire
from collector.demo.arrived import Arrived
from collector.demo.process import Process, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.demo.receiver import Troubles
    from collector.demo.stage import Stage

READ_BYTES = 4096


class Upstream(Process):
    """The receiver."""

    def __init__(self, stage: Stage, *, environ: Mapping[str, str]) -> None:
        arguments = ("-m", "collector.demo.receiver")
        super().__init__("upstream", *arguments, directory=stage.directory, environ=environ)
        self._settings = stage.upstream

    async def start(self) -> int:
        """Start it; returns its port."""
        with step("the upstream starts", self):
            process = await self.spawn(pipes=True)
            if process.stdin is None or process.stdout is None:
                raise OSError("it has no pipes")
            await process.stdin.send_all(msgspec.json.encode(self._settings) + b"\n")
            said = await process.stdout.receive_some(READ_BYTES)
            return msgspec.json.decode(said, type=dict[str, int])["port"]

    async def away(self) -> None:
        """Have it refuse all connections."""
        await self._tell("POST", "/away")

    async def back(self, troubles: Troubles) -> None:
        """Have it accept connections, and answer badly at first."""
        await self._tell("POST", "/back", msgspec.json.encode(troubles))

    async def arrived(self) -> Arrived:
        """What it has taken."""
        return msgspec.json.decode((await self._tell("GET", "/arrived")).body, type=Arrived)

    async def _tell(self, method: str, path: str, body: bytes = b"") -> wire.Message:
        with step(f"the upstream is asked {method} {path}", self):
            connection = await wire.connect(self._settings.control)
            try:
                answer = await connection.ask(method, path, body)
            finally:
                await connection.aclose()
            if answer.status != wire.OK:
                raise wire.Broken(f"it answered {answer.status}")
            return answer
