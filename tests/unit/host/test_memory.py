from __future__ import annotations

import ctypes

import pytest

from collector.host import memory


def test_the_c_library_is_told_how_many_heaps_to_make_and_what_to_map(monkeypatch):
    told = {}

    class Glibc:
        def __init__(self, name):
            assert name is None

        def mallopt(self, option, value):
            told[option] = value

    monkeypatch.setattr(ctypes, "CDLL", Glibc)
    memory.bound_arenas()
    assert told == {memory.M_ARENA_MAX: memory.ARENAS, memory.M_MMAP_THRESHOLD: memory.MAPPED_BYTES}


@pytest.mark.parametrize("error", [AttributeError("no mallopt"), OSError("no library")])
def test_another_c_library_is_left_alone(monkeypatch, error):
    def none(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", none)
    memory.bound_arenas()
