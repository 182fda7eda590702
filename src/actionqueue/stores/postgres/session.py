"""A connection to the primary, whichever node that is now, with a thread of its own.

No call has a timeout and none is canceled: PostgreSQL acknowledges a commit that it cancels while
the commit waits for the standbys. A primary that is gone is found by TCP's own timeouts.
"""

from __future__ import annotations

import importlib
import os
import socket
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from actionqueue.errors import StoreUnavailableError, UnknownLogError
from actionqueue.stores.line import Line
from actionqueue.stores.postgres.schema import FIND_LOG, SET_SESSION

__all__ = ["Answer", "LostAnswer", "RefusedStatement", "Session", "psycopg_module"]

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

ENDS_OF_CONNECTIONS = ("08", "57P")
"""What PostgreSQL's codes begin with for connections that end, and servers that stop or start."""


def psycopg_module() -> Any:
    """Import the client and return it, or raise an ImportError that says what to install."""
    try:
        return importlib.import_module("psycopg")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        reason = "a PostgresStore needs psycopg: pip install 'actionqueue[postgres]'"
        raise ModuleNotFoundError(reason, name="psycopg") from error


class Answer(NamedTuple):
    """What a statement gave."""

    rows: list[tuple[Any, ...]]
    row_count: int
    """The rows that it returned or changed."""
    notices: tuple[str, ...]
    """What the server said besides: a commit that the standbys have not may say so here alone."""


class LostAnswer(Exception):
    """The connection ended before the answer came."""


class RefusedStatement(Exception):
    """The server refused the statement, which changed nothing."""

    def __init__(self, cause: BaseException, state: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.state = state
        """PostgreSQL's five characters for the reason."""


class Session:
    """Connects when it is asked for something, and again after a connection ended."""

    def __init__(self, conninfo: str, log: str, purpose: str) -> None:
        """Read the parameters of the connection; no connection is made yet.

        Raises psycopg's ProgrammingError where they do not make sense, and ImportError.
        """
        self._psycopg = psycopg_module()
        given = self._psycopg.conninfo.conninfo_to_dict(conninfo)
        self._conninfo = self._psycopg.conninfo.make_conninfo(**{**DEFAULTS, **given})
        self._log = log
        self._line = Line(f"actionqueue: {purpose} of {log}")
        self._connection: Any = None
        self._notices: list[str] = []
        self._uuid: UUID | None = None
        self._log_id = 0

    def ask(self, statement: str, **parameters: Any) -> Answer:
        """Execute a statement about the log, whose number is the parameter `log`.

        Raises LostAnswer, RefusedStatement; StoreUnavailableError where there was no connection,
        and none can be made; UnknownLogError.
        """
        return self._line.run(self._ask, statement, parameters)

    def ask_of_any_log(self, statement: str, **parameters: Any) -> Answer:
        """Execute one that needs no log to be there."""
        return self._line.run(self._ask_of_any_log, statement, parameters)

    def _ask(self, statement: str, parameters: dict[str, Any]) -> Answer:
        connection = self._connected()
        if not self._log_id:
            self._find_log(connection)
        return self._execute(connection, statement, {"log": self._log_id, **parameters})

    def _ask_of_any_log(self, statement: str, parameters: dict[str, Any]) -> Answer:
        # Several statements in one text have no parameters, and cannot be prepared.
        return self._execute(self._connected(), statement, parameters or None)

    def _execute(
        self, connection: Any, statement: str, parameters: dict[str, Any] | None
    ) -> Answer:
        self._notices.clear()
        is_one = parameters is not None
        try:
            cursor = connection.execute(statement, parameters, prepare=is_one, binary=is_one)
            rows = cursor.fetchall() if cursor.description else []
        except self._psycopg.Error as error:
            state = error.sqlstate or ""
            if connection.broken or connection.closed or state.startswith(ENDS_OF_CONNECTIONS):
                self._drop()
                raise LostAnswer(str(error)) from error
            raise RefusedStatement(error, state) from error
        except BaseException:
            self._drop()
            raise
        return Answer(rows, cursor.rowcount, tuple(self._notices))

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Any:
        try:
            connection = self._psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=0)
        except self._psycopg.Error as error:
            raise StoreUnavailableError(error) from error
        try:
            connection.add_notice_handler(self._note)
            connection.execute(SET_SESSION, prepare=False)
        except self._psycopg.Error as error:
            connection.close()
            raise StoreUnavailableError(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _note(self, diagnostic: Any) -> None:
        self._notices.append(f"{diagnostic.severity} {diagnostic.message_primary}")

    def _find_log(self, connection: Any) -> None:
        try:
            found = connection.execute(FIND_LOG, {"name": self._log}).fetchone()
        except (self._psycopg.errors.UndefinedTable, self._psycopg.errors.InvalidSchemaName):
            found = None
        if found is None or self._uuid not in {None, found[1]}:
            raise UnknownLogError(self._log)
        self._log_id, self._uuid = found

    def drop(self) -> None:
        """Let go of the connection; the next statement makes one."""
        self._line.run(self._drop)

    def _drop(self) -> None:
        connection, self._connection, self._log_id = self._connection, None, 0
        if connection is not None:
            with suppress(self._psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Let go for good. A statement that waits for a server which does not answer ends, too."""
        connection = self._connection
        if connection is not None:
            with (
                suppress(self._psycopg.Error, OSError),
                socket.socket(fileno=os.dup(connection.pgconn.socket)) as held,
            ):
                held.shutdown(socket.SHUT_RDWR)
        self._line.close(self._drop)
