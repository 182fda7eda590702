import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing import get_context, parent_process

import actionqueue as aq

WORKERS = 2
LEASE_SECONDS = 30


def work(payload: bytes) -> bytes:  # in a worker process: the real work would be here
    if payload == b"a bad one":
        os._exit(3)  # as a crash in a library would
    return payload.upper()


def begin() -> None:  # in a worker process, before its first job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    if parent := parent_process():
        parent.join()  # until it has ended, also by a kill
    os._exit(1)


class Worker:  # a pool of one process: when it breaks, it is clear which job broke it
    pool: ProcessPoolExecutor | None = None

    def start(self, claim: aq.Claim) -> Future[bytes]:
        self.claim = claim
        with suppress(BrokenExecutor):
            if self.pool:
                return self.pool.submit(work, claim.payload)
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), begin)
        self.process_id = self.pool.submit(os.getpid)
        return self.pool.submit(work, claim.payload)


def collect(scheduler: aq.Scheduler, idle: list[Worker], busy: dict[Future[bytes], Worker]) -> None:
    done: list[tuple[aq.Claim, bytes]] = []
    for future in wait(busy, 0.1, FIRST_COMPLETED).done:
        idle.append(worker := busy.pop(future))
        try:
            done.append((worker.claim, aq.AttemptOutcome.success(future.result()).output or b""))
        except Exception as error:  # what the work raised; BrokenExecutor where its process died
            with suppress(aq.ClaimLost):
                scheduler.fail(worker.claim, ascii(error)[:1000])
    try:
        scheduler.complete_many(done)
    except aq.ClaimLost:  # one comes too late: take the others
        for claim, output in done:
            with suppress(aq.ClaimLost):
                scheduler.complete(claim, output)
    for worker in busy.values():
        if worker.claim.lease_expiry - aq.now() <= LEASE_SECONDS * 3 // 4:
            try:
                scheduler.heartbeat(worker.claim)
            except aq.ClaimLost:  # canceled, or overdue: end the work, which is in vain
                with suppress(BrokenExecutor, OSError):
                    os.kill(worker.process_id.result(), signal.SIGTERM)


def main(path: str, jobs: list[str]) -> None:
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    with aq.open(path) as queue:
        scheduler = aq.Scheduler(queue, lease_seconds=LEASE_SECONDS)
        scheduler.add_many([job.encode() for job in jobs], max_attempts=3)
        idle, busy = [Worker() for _ in range(WORKERS)], dict[Future[bytes], Worker]()
        while busy or (not interrupts and (scheduler.wait(0) or scheduler.next_wakeup())):
            if scheduler.wait(timeout=0 if busy else 0.1) and idle and not interrupts:
                for claim in scheduler.claim("parent", limit=len(idle)):
                    worker = idle.pop()
                    busy[worker.start(claim)] = worker
            collect(scheduler, idle, busy)
        for worker in idle:
            if worker.pool:
                worker.pool.shutdown()
        print(*(f"{n} {state}" for state, n in queue.projection.counts_by_state().items() if n))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
