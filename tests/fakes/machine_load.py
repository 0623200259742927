"""Posts events to a socket and a port without a pause, until its input ends; a program of its own,
for it runs in another network namespace.

Each request has a connection of its own, as a shell script's have. What was acknowledged, and
each request that was not, is told at the end as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.daemon import Client

PATIENCE = 90.0
PAUSE = 0.005


class Poster(threading.Thread):
    """Posts to one address."""

    def __init__(self, address: int | Path, name: str, stopping: threading.Event) -> None:
        super().__init__(name=name)
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._address = address
        self._stopping = stopping

    def run(self) -> None:
        number = 0
        while not self._stopping.wait(PAUSE):
            number += 1
            event = f"{self.name}-{number}"
            body = f'[{{"timestamp":1433004485870,"sourceId":"{self.name}","eventName":"{event}"}}]'
            headers = {"Content-Type": "application/json", "Connection": "close"}
            try:
                with Client(self._address, timeout=PATIENCE) as client:
                    reply = client.ask("POST", "/v1/events", body.encode(), headers)
            except Exception as error:  # noqa: BLE001 - each is a request that failed
                self.failures.append(f"{event}: {error!r}")
                continue
            if reply.status == 202:
                self.acknowledged.append(event)
            else:
                self.failures.append(f"{event}: {reply.status} {reply.body!r}")


def main(path: str, port: str) -> None:
    stopping = threading.Event()
    posters = [Poster(Path(path), f"socket-{number}", stopping) for number in range(2)]
    posters += [Poster(int(port), f"port-{number}", stopping) for number in range(2)]
    for poster in posters:
        poster.start()
    print("begun", flush=True)
    sys.stdin.read()
    stopping.set()
    for poster in posters:
        poster.join()
    told = {
        "acknowledged": [event for poster in posters for event in poster.acknowledged],
        "failures": [failure for poster in posters for failure in poster.failures],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
