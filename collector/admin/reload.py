"""`POST /v1/reload`: take up what the configuration has become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.admin.answers import UNSAVED
from collector.admin.endpoints import Asynchronous
from collector.core.http import Answer
from collector.errors import ConfigError, WaystationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATH = "/v1/reload"


class Reloaded(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        changed: the tables of the configuration that changed; none where it is as it was.
    """

    changed: list[str]


class Refused(msgspec.Struct, frozen=True):
    """Why nothing has changed.

    Attributes:
        problems: one for each thing that is wrong with the configuration.
    """

    message: str
    problems: list[str]
    status: str = "ERROR"


def reload_endpoint(reload: Callable[[], Awaitable[list[str]]]) -> Asynchronous:
    """The endpoint; 409 where nothing was changed."""

    async def answer() -> Answer:
        try:
            changed = await reload()
        except WaystationError as error:
            problems = [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else []
            refused = Refused("nothing was changed" if problems else str(error), problems)
            return Answer(409, msgspec.json.encode(refused), headers=UNSAVED)
        return Answer(200, msgspec.json.encode(Reloaded(changed)), headers=UNSAVED)

    return Asynchronous(answer)
