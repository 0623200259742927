"""Two machines on one: network namespaces with a wire between them (needs root and iproute2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAR, FAR, SERVER = "10.203.0.1", "10.203.0.2", "10.203.1.1"
CLONE_NEWNET = 0x40000000

T = TypeVar("T")


@dataclass
class Site:
    """The device, and what is at the other end of its wire.

    Attributes:
        device: namespace of the daemon; its resolver asks `SERVER`.
        world: namespace of the upstreams, which have the address `SERVER`.
    """

    device: str
    world: str

    def route(self, change: str) -> None:
        """`add` or `del` the device's route to `SERVER`."""
        ip("-n", self.device, "route", change, f"{SERVER}/32", "via", FAR)

    def command(self, inner: Path, directory: Path) -> Path:
        """A command that runs another one on the device."""
        script = directory / "on-device"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.device} {inner} "$@"\n')
        script.chmod(0o755)
        return script

    def in_world(self, make: Callable[[], T]) -> T:
        """Call a function whose sockets are to be at the other end."""
        made: list[T] = []

        def run() -> None:
            with Path(f"/run/netns/{self.world}").open() as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0
            made.append(make())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return made[0]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def missing() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip (iproute2)"
    name = f"ws-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode != 0:
        return "this machine lets nobody make network namespaces"
    ip("netns", "del", name)
    return ""


@contextlib.contextmanager
def two_machines() -> Iterator[Site]:
    """Make both, and the wire; they are gone afterwards."""
    site = Site(f"ws-dev-{os.getpid()}", f"ws-out-{os.getpid()}")
    resolver = Path("/etc/netns") / site.device
    made = []
    try:
        for name in (site.device, site.world):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ends = ("link", "add", "eth0", "netns", site.device, "type", "veth")
        ip(*ends, "peer", "name", "eth0", "netns", site.world)
        for name, address in ((site.device, NEAR), (site.world, FAR)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", site.world, "addr", "add", f"{SERVER}/32", "dev", "lo")
        site.route("add")
        resolver.mkdir(parents=True)
        (resolver / "resolv.conf").write_text(f"nameserver {SERVER}\noptions timeout:3 attempts:1\n")
        yield site
    finally:
        for name in made:
            ip("netns", "del", name)
        shutil.rmtree(resolver, ignore_errors=True)


class NameServer(threading.Thread):
    """Says `SERVER` for whatever is asked for an IPv4 address, unless it is silent."""

    def __init__(self) -> None:
        super().__init__(name="names")
        self.silent = False
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((SERVER, 53))
        self._socket.settimeout(0.1)
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.join()
        self._socket.close()

    def run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                question, client = self._socket.recvfrom(512)
                self.asked += 1
                if not self.silent:
                    self._socket.sendto(_answer(question), client)


def _answer(question: bytes) -> bytes:
    """An A record for a question of type A, and no record for any other (RFC 1035, 4.1)."""
    end = question.index(b"\0", 12) + 5  # the name's end, type and class
    is_a = question[end - 4 : end - 2] == b"\0\1"
    head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(SERVER)
    return head + question[12:end] + (record if is_a else b"")
