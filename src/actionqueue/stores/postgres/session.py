"""A connection to the primary, whichever node that is now, with a thread of its own.

No call has a timeout and none is canceled: PostgreSQL acknowledges a commit that it cancels while
the commit waits for the standbys. A primary that is gone is found by TCP's own timeouts, and one
that was replaced by a look at the other servers, while a statement waits.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from actionqueue.errors import ClosedError, StoreUnavailableError, UnknownLogError
from actionqueue.stores.line import Line
from actionqueue.stores.postgres.schema import FIND_LOG
from actionqueue.stores.postgres.servers import UNKNOWN, Servers, psycopg_module

__all__ = ["Answer", "LostAnswer", "RefusedStatement", "Session"]

SILENT_SECONDS = 4.0
"""How long a statement with a time may take at least: as long as TCP needs to miss a server."""
MISSING = {"42P01", "3F000"}
"""PostgreSQL's codes for a table and a schema that are not there."""
ENDS_OF_CONNECTIONS = ("08", "57P")
"""What PostgreSQL's codes begin with for connections that end, and servers that stop or start."""


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

    def __init__(self, servers: Servers, log: str, purpose: str) -> None:
        """Take what makes connections, and say what this one is for, among a log's."""
        self._psycopg = psycopg_module()
        self._servers = servers
        self._log = log
        self._line = Line(f"actionqueue: {purpose} of {log}")
        self._connection: Any = None
        self._standing = UNKNOWN
        self._is_closed = False
        self._notices: list[str] = []
        self._uuid: UUID | None = None
        self._log_id = 0

    def ask(self, statement: str, *, until: float | None = None, **parameters: Any) -> Answer:
        """Execute a statement about the log, whose number is the parameter `log`.

        Without an answer until then, and for a few seconds, the connection is let go of, which
        cancels nothing.

        Raises LostAnswer, RefusedStatement; StoreUnavailableError where there was no connection,
        and none can be made; UnknownLogError.
        """
        if until is not None:
            until = max(until, time.monotonic() + SILENT_SECONDS)
        try:
            return self._line.run_until(until, self._look_about, self._ask, statement, parameters)
        except TimeoutError as error:
            self._shut_down()
            raise StoreUnavailableError(LostAnswer("no answer came in time")) from error

    def ask_of_any_log(self, statement: str, **parameters: Any) -> Answer:
        """Execute one that needs no log to be there."""
        call = self._ask_of_any_log
        return self._line.run_until(None, self._look_about, call, statement, parameters)

    def _ask(self, statement: str, parameters: dict[str, Any]) -> Answer:
        connection = self._connected()
        if not self._log_id:
            self._find_log(connection)
        try:
            return self._execute(connection, statement, {"log": self._log_id, **parameters})
        except RefusedStatement as error:
            if error.state in MISSING:
                raise UnknownLogError(self._log) from error
            raise

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
        if self._connection is not None and self._servers.is_replaced(self._standing):
            self._drop()
        if self._connection is None:
            self._connection, self._standing = self._servers.connect()
            self._connection.add_notice_handler(self._note)
        if self._is_closed:
            # Closed before it could end this connection: nothing would end what waits in it.
            self._drop()
            raise ClosedError
        return self._connection

    def _look_about(self) -> None:
        """Let go of a server under a statement that waits, where another one has its place."""
        if self._connection is None:
            return
        if self._servers.is_replaced(self._standing):
            self._shut_down()
        else:
            self._servers.look()

    def _note(self, diagnostic: Any) -> None:
        self._notices.append(f"{diagnostic.severity} {diagnostic.message_primary}")

    def _find_log(self, connection: Any) -> None:
        try:
            rows = self._execute(connection, FIND_LOG, {"name": self._log}).rows
        except RefusedStatement as error:
            if error.state in MISSING:
                raise UnknownLogError(self._log) from error
            raise
        if not rows or self._uuid not in {None, rows[0][1]}:
            raise UnknownLogError(self._log)
        self._log_id, self._uuid = rows[0]

    def drop(self) -> None:
        """Let go of the connection; the next statement makes one."""
        self._line.run(self._drop)

    def _drop(self) -> None:
        connection, self._connection, self._log_id = self._connection, None, 0
        if connection is not None:
            with suppress(self._psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Let go for good. A statement that waits for a server which does not answer ends, too.

        In a child of the process this does nothing: the connection is the parent's.
        """
        if self._line.is_of_this_process:
            self._is_closed = True
            self._shut_down()
            self._line.close(self._drop)

    def _shut_down(self) -> None:
        """End the connection under a statement that waits."""
        connection = self._connection
        if connection is not None:
            with (
                suppress(self._psycopg.Error, OSError),
                socket.socket(fileno=os.dup(connection.pgconn.socket)) as held,
            ):
                held.shutdown(socket.SHUT_RDWR)
