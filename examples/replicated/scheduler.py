"""A scheduler that outlives its machine: start it on several, each with a directory of its own.

One of them is the log's writer and works; the others follow it, and take over when it is gone.

    python scheduler.py --postgres "host=db-1,db-2,db-3 dbname=jobs user=jobs" --path ./queue
    python scheduler.py --etcd 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 --path ./queue
"""

from __future__ import annotations

import argparse
import time

import actionqueue as aq


def store_of(options: argparse.Namespace) -> aq.LogStore:
    """Return the store that the options name, with its log."""
    store = (
        aq.PostgresStore(options.postgres, log=options.log)
        if options.postgres
        else aq.EtcdStore(options.etcd.split(","), log=options.log)
    )
    store.initialize()  # does nothing where the log is there
    return store


def work(queue: aq.ActionQueue) -> None:
    """Do jobs until another writer takes the log over."""
    scheduler = aq.Scheduler(queue, lease_seconds=30)
    scheduler.add(b"say hello", priority=1)
    while True:
        for claim in scheduler.claim(queue.stats()["store"]["holder"], limit=10):
            print(claim.payload.decode(), flush=True)
            scheduler.complete(claim)
        time.sleep(0.1)


def main() -> None:
    """Stand by, work, and stand by again."""
    options_of = argparse.ArgumentParser(description=__doc__)
    engine = options_of.add_mutually_exclusive_group(required=True)
    engine.add_argument("--postgres", metavar="CONNINFO")
    engine.add_argument("--etcd", metavar="ENDPOINTS")
    options_of.add_argument("--path", required=True)
    options_of.add_argument("--log", default="jobs")
    options = options_of.parse_args()
    while True:
        with aq.open(options.path, store=store_of(options), standby=True) as queue:
            queue.wait_until_active()
            print("active", flush=True)
            try:
                work(queue)
            except (aq.PoisonedError, aq.PartialDurabilityError) as error:
                print(f"standing by: {error.cause}", flush=True)


if __name__ == "__main__":
    main()
