"""A queue whose log is in a store: a replicated engine has each event before it counts as durable.

The directory on this machine is a whole queue of its own, in which commands cost what they always
cost. It is the outbox of what is on its way to the store, and a copy of what the store has, which
can be made again at any time.

- ``queue``: the queue that users open, as writer or as standby.
- ``copy``: the directory: opened, compared with the store, made again where it is of no use.
- ``note``: what the directory says of the store.
- ``groups``: groups of the store, checked one after the other.
- ``shipper``: the threads that ship events, keep the term and put snapshots into the store.
- ``reading``: read-only queues and followers of a store.
"""
