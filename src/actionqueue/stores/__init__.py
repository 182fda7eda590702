"""Logs in replicated engines: where a queue's events go that must outlive a machine.

:class:`LogStore` says what an engine does for a log; :class:`PostgresStore` and :class:`EtcdStore`
do it. A store takes groups of events as bytes, and knows nothing of what is in them.
"""

from __future__ import annotations

from actionqueue.stores.etcd import EtcdStore
from actionqueue.stores.postgres import PostgresStore
from actionqueue.stores.protocol import Head, LogStore, SnapshotInfo, StoreInfo, Term

__all__ = ["EtcdStore", "Head", "LogStore", "PostgresStore", "SnapshotInfo", "StoreInfo", "Term"]
