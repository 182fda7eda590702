"""The servers of a store, and which of them is the primary.

Several may say that they take writes: one that another node has replaced, and that was not stopped,
goes on answering, although no standby follows it any more. Each promotion begins a new timeline, so
the primary is the one with the newest, among those that are followed, if there are any: a standby
that was promoted by mistake, beside a primary that goes on, is followed by no other.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

from actionqueue.errors import StoreUnavailableError
from actionqueue.stores.postgres.schema import SET_SESSION, STANDING

__all__ = ["Servers", "Standing", "psycopg_module"]

DEFAULTS = {
    "target_session_attrs": "read-write",
    "application_name": "actionqueue",
    "client_encoding": "UTF8",
    "connect_timeout": 3,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
LISTS = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT"}
"""The parameters that may name several servers, and where the client looks for them else."""
LOOK_SECONDS = 4.0
"""How long after one look at all servers the next one is."""


def psycopg_module() -> Any:
    """Import the client and return it, or raise an ImportError that says what to install."""
    try:
        return importlib.import_module("psycopg")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        reason = "a PostgresStore needs psycopg: pip install 'actionqueue[postgres]'"
        raise ModuleNotFoundError(reason, name="psycopg") from error


class Standing(NamedTuple):
    """What a server writes."""

    system: int
    """The number of the database cluster. Timelines of two clusters have no order."""
    timeline: int
    """How often a standby was promoted, and one more; 0 for a standby."""
    is_followed: bool
    """Whether a standby received its log when it was asked."""

    @property
    def history(self) -> tuple[int, int]:
        """Return what stays, while standbys come and go."""
        return self.system, self.timeline

    def is_before(self, other: Standing) -> bool:
        """Whether the other one was promoted later."""
        return self.system == other.system and self.timeline < other.timeline

    def rank(self) -> tuple[bool, int]:
        """Return what is larger for the primary than for the others that take writes."""
        return self.is_followed, self.timeline


UNKNOWN = Standing(0, 0, is_followed=False)


class Servers:
    """Makes the connections of a store's sessions, which share what one of them has found."""

    def __init__(self, conninfo: str) -> None:
        """Read the parameters of the connection; no connection is made yet.

        Raises psycopg's ProgrammingError where they do not make sense, and ImportError.
        """
        self._psycopg = psycopg_module()
        given = self._psycopg.conninfo.conninfo_to_dict(conninfo)
        self._parameters: dict[str, Any] = {**DEFAULTS, **given}
        self._psycopg.conninfo.make_conninfo(**self._parameters)
        self._each = _one_by_one(self._parameters)
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._look_again_at = 0.0
        self._primary = self._passed_over = UNKNOWN

    def connect(self) -> tuple[Any, Standing]:
        """Connect to the primary, and return what it writes, too.

        Raises StoreUnavailableError where no server takes writes, or only one that was replaced.
        """
        connection, standing = self._connect(self._parameters)
        if len(self._each) > 1 and (
            standing.is_before(self._primary) or standing.history == self._passed_over.history
        ):
            connection.close()
            return self._choose(standing)
        self._note(standing)
        return connection, standing

    def _choose(self, first: Standing) -> tuple[Any, Standing]:
        """Connect to the first of all servers by rank, though the client chose another one."""
        best: Any = None
        standing = first
        for parameters in self._each:
            try:
                connection, found = self._connect(parameters)
            except StoreUnavailableError:
                continue
            if best is None or (found.system == standing.system and found.rank() > standing.rank()):
                best, standing, connection = connection, found, best
            if connection is not None:
                connection.close()
        if best is not None and (standing.is_followed or not standing.is_before(self._primary)):
            self._note(standing)
            return best, standing
        if best is not None:
            best.close()
        reason = (
            f"the server that takes writes has timeline {first.timeline}, and is not the primary: "
            f"{self._primary.timeline} was seen"
        )
        raise StoreUnavailableError(ConnectionError(reason))

    def _connect(self, parameters: dict[str, Any]) -> tuple[Any, Standing]:
        try:
            connection = self._psycopg.connect(**parameters, autocommit=True, prepare_threshold=0)
        except self._psycopg.Error as error:
            raise StoreUnavailableError(error) from error
        try:
            connection.execute(SET_SESSION, prepare=False)
            return connection, Standing(*connection.execute(STANDING, prepare=False).fetchone())
        except self._psycopg.Error as error:
            connection.close()
            raise StoreUnavailableError(error) from error
        except BaseException:
            connection.close()
            raise

    def is_replaced(self, standing: Standing) -> bool:
        """Whether another server is the primary than the one that writes this."""
        return standing.history != self._primary.history

    def _note(self, standing: Standing) -> None:
        with self._lock:
            self._primary = standing
            if standing.history == self._passed_over.history:
                self._passed_over = UNKNOWN

    def look(self) -> None:
        """Have a thread look at all servers, unless there is one only, or one looked lately.

        It does not wait: :meth:`is_replaced` says soon what was found.
        """
        now = time.monotonic()
        if len(self._each) == 1 or now < self._look_again_at:
            return
        self._look_again_at = now + LOOK_SECONDS
        with suppress(RuntimeError):  # there are too many threads, or the interpreter ends
            threading.Thread(target=self._look, name="actionqueue: servers", daemon=True).start()

    def _look(self) -> None:
        # A look may take longer than the time to the next one, where servers do not answer.
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_at_all()
        finally:
            self._looking.release()

    def _look_at_all(self) -> None:
        best = second = UNKNOWN
        for parameters in self._each:
            with suppress(StoreUnavailableError):
                connection, found = self._connect(parameters)
                connection.close()
                if found.system == self._primary.system:
                    second, best = sorted((second, best, found), key=Standing.rank)[1:]
        self._weigh(best, second)

    def _weigh(self, best: Standing, other: Standing) -> None:
        """Note what a look has found, unless all that is left was replaced before."""
        with self._lock:
            if best.is_followed or self._primary.is_before(best):
                self._primary, self._passed_over = best, other


def _one_by_one(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters for each server by itself: the client has lists with commas."""
    given = {name: str(parameters.get(name) or os.environ.get(LISTS[name], "")) for name in LISTS}
    lists = {name: text.split(",") for name, text in given.items() if text}
    count = max((len(lists[name]) for name in ("host", "hostaddr") if name in lists), default=1)
    return [
        parameters
        | {name: each[number] if len(each) == count else each[0] for name, each in lists.items()}
        for number in range(count)
    ]
