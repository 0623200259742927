"""launchd's side of socket activation (launch(3)), and of logs: macOS alone.

Nothing here can run on Linux but by a stand-in for the C library, which is what the tests use.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from typing import Protocol, cast

SOCKET_NAMES = ("waystation", "waystation-http", "waystation-http6")
"""The keys of `Sockets` in the property list; launchd is asked for each by name, once."""


class Library(Protocol):
    """The C library, as far as it is called."""

    def launch_activate_socket(self, name: bytes, descriptors: object, count: object) -> int:
        """Hand over the descriptors of one name; 0, or an errno."""

    def free(self, pointer: object) -> object:
        """Free what the library has allocated."""


def activated(library: Library | None = None) -> list[tuple[str, socket.socket]]:
    """The sockets that launchd made for this job, with their names; none where it is no job of launchd.

    Args:
        library: the process's own by default, on macOS.
    """
    library = library or _system_library()
    sockets: list[tuple[str, socket.socket]] = []
    if library is None:
        return sockets
    for name in SOCKET_NAMES:
        descriptors = ctypes.POINTER(ctypes.c_int)()
        count = ctypes.c_size_t(0)
        refused = library.launch_activate_socket(
            name.encode(), ctypes.byref(descriptors), ctypes.byref(count)
        )
        if refused == errno.ESRCH:
            return sockets  # not started by launchd
        if refused:
            continue  # ENOENT: the property list has no such name; EALREADY: taken before
        # The array is ours to free; what it lists stays open.
        numbers = [descriptors[index] for index in range(count.value)]
        library.free(descriptors)
        for number in numbers:
            os.set_inheritable(number, False)  # noqa: FBT003 - its signature
            sockets.append((name, socket.socket(fileno=number)))
    return sockets


def _system_library() -> Library | None:
    if sys.platform == "darwin":
        library = ctypes.CDLL(None)
        library.launch_activate_socket.argtypes = (
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
            ctypes.POINTER(ctypes.c_size_t),
        )
        library.launch_activate_socket.restype = ctypes.c_int
        library.free.argtypes = (ctypes.c_void_p,)
        library.free.restype = None
        return cast("Library", library)
    return None
