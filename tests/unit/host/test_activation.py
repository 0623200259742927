"""Sockets that a service manager handed over."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from collector.host import launchd
from collector.host.activation import Inherited, inherited
from collector.listener.bind import bind

# What systemd does for its services: put the sockets from 3 on, name the process, and become it.
HAND_OVER = """
import os, socket, sys
path, names = sys.argv[1:3]
unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()
port = socket.create_server(("127.0.0.1", 0))
plain = os.open(os.devnull, os.O_RDONLY)
given = [unix.detach(), port.detach(), plain]
spare = [os.dup2(number, 100 + index) for index, number in enumerate(given)]
for index, number in enumerate(spare):
    os.dup2(number, 3 + index)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], path])
"""

TAKE = """
import os, sys
from collector.host.activation import inherited
found = inherited(os.environ)
sock = found.take("unix:" + sys.argv[1])
print(sock.fileno(), os.get_inheritable(sock.fileno()))
print(found.take("unix:" + sys.argv[1]), found.take("127.0.0.1:1"))
print(found.close())
print(sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def test_they_come_from_descriptor_3_on_and_are_found_by_their_addresses(tmp_path):
    path = str(tmp_path / "s")
    done = subprocess.run(
        [sys.executable, "-c", HAND_OVER, path, "waystation:http:", TAKE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken, again, left, variables = done.stdout.splitlines()
    assert taken == "3 False"
    assert again == "None None"
    assert left.startswith("['http (127.0.0.1:")
    assert variables == "[]"


@pytest.mark.parametrize("pid", ["", "1"])
def test_those_for_another_process_are_let_alone_and_forgotten(pid):
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "PATH": "/bin"}
    assert inherited(environ).close() == []
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("count", ["", "-1", "many", "0"])
def test_a_number_that_is_none_stands_for_no_socket(count):
    assert inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}).close() == []


@pytest.fixture
def stack():
    with ExitStack() as closed:
        yield closed


def test_a_listener_takes_the_socket_of_its_address_instead_of_binding_one(stack):
    given = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = given.getsockname()[1]
    (bound,) = bind(f"127.0.0.1:{port}", inherited=Inherited([("http", given)]))
    assert bound.inherited
    assert bound.sock is given


def test_a_unix_socket_is_known_through_a_link_to_its_directory(stack, tmp_path):
    given = stack.enter_context(socket.socket(socket.AF_UNIX))
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to("run")
    given.bind(str(tmp_path / "run/s"))
    given.listen()
    (bound,) = bind(f"unix:{tmp_path}/var-run/s", inherited=Inherited([("unix", given)]))
    assert bound.sock is given
    bound.close()
    assert (tmp_path / "run/s").exists(), "it is the manager's"


class Launchd:
    """`launch_activate_socket` and `free` with their real signatures, over arrays that are counted.

    Args:
        sockets: descriptors by name; None where the process is no job of launchd.
    """

    def __init__(self, sockets):
        self._sockets = sockets
        self.freed = 0
        self._arrays = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
            ctypes.POINTER(ctypes.c_size_t),
        )
        self.launch_activate_socket = signature(self._activate)
        self.free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._free)

    def _activate(self, name, descriptors, count):
        if self._sockets is None:
            return errno.ESRCH
        if name.decode() not in self._sockets:
            return errno.ENOENT
        numbers = self._sockets.pop(name.decode())
        array = (ctypes.c_int * len(numbers))(*numbers)
        self._arrays.append(array)
        descriptors[0] = ctypes.cast(array, ctypes.POINTER(ctypes.c_int))
        count[0] = len(numbers)
        return 0

    def _free(self, address):
        assert address in {ctypes.addressof(array) for array in self._arrays}
        self.freed += 1


def test_launchd_is_asked_for_each_name_and_its_arrays_are_freed():
    unix = socket.socket(socket.AF_UNIX)
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    given = {"waystation": [unix.detach()], "waystation-http": [port.detach() for port in ports]}
    library = Launchd(given)
    found = launchd.activated(library)
    assert [name for name, _ in found] == ["waystation", "waystation-http", "waystation-http"]
    assert [sock.family for _, sock in found] == [socket.AF_UNIX, socket.AF_INET, socket.AF_INET]
    assert not any(os.get_inheritable(sock.fileno()) for _, sock in found)
    assert library.freed == 2
    for _, sock in found:
        sock.close()


def test_outside_of_launchd_there_are_none():
    assert launchd.activated(Launchd(None)) == []


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is launchd who is asked")
def test_other_systems_have_no_launchd():
    assert launchd.activated() == []


def test_one_that_was_given_back_can_be_taken_again_and_goes_on_taking_connections(tmp_path):
    path = str(tmp_path / "s")
    given = socket.socket(socket.AF_UNIX)
    given.bind(path)
    given.listen()
    found = Inherited([("http", given)])
    (first,) = bind(f"unix:{path}", inherited=found)
    found.give_back(first.sock.dup())
    first.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        (again,) = bind(f"unix:{path}", inherited=found)
        assert again.inherited
        accepted, _ = again.sock.accept()
        accepted.close()
        again.close()
    assert found.close() == []
