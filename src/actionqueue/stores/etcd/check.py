"""What etcd's nodes say of themselves, and what of it does not keep the promise."""

from __future__ import annotations

import re
from typing import Any

from actionqueue.errors import StoreUnavailableError
from actionqueue.stores.etcd.nodes import Nodes

__all__ = ["check_nodes"]

NODES_MIN = 3
DATABASE_SIZE_WARNED = 4 << 30
"""Half of the largest database that etcd recommends."""


def check_nodes(nodes: Nodes) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the version, what each node is, and the warnings."""
    states: list[str] = []
    warnings: list[str] = []
    versions: list[str] = []
    for number, endpoint in enumerate(nodes.endpoints):
        try:
            status = nodes.ask_node(number, "MaintenanceStub", "Status", nodes.rpc.StatusRequest())
        except StoreUnavailableError as error:
            states.append(f"{endpoint} (does not answer)")
            warnings.append(f"{endpoint} does not answer: {error.cause}")
            continue
        is_leader = status.leader == status.header.member_id
        states.append(f"{endpoint} ({'leader' if is_leader else 'follower'})")
        versions.append(status.version)
        warnings += _of_node(endpoint, status)
    members = nodes.call("ClusterStub", "MemberList", nodes.rpc.MemberListRequest(), 1)
    voting = len(members.members)
    if voting < NODES_MIN:
        warnings.append(f"the cluster has {voting} member(s): with less than 3 no node may fail")
    return ", ".join(sorted(set(versions))), tuple(states), tuple(warnings)


def _of_node(endpoint: str, status: Any) -> list[str]:
    found = []
    if re.fullmatch(r"3\.5\.[012]", status.version):
        found.append(
            f"{endpoint} is etcd {status.version}, which may lose consistency after a crash: "
            "upgrade it to 3.5.3 or newer"
        )
    if status.dbSize > DATABASE_SIZE_WARNED:
        found.append(f"{endpoint} has a database of {status.dbSize >> 20} MiB: trim the log")
    found += [f"{endpoint}: {error}" for error in getattr(status, "errors", ())]
    return found
