"""What the parts of the C core cost. A call does a part TIMES times: divide by that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.parts.loops import ffi, lib

TIMES = 1000
RUNS = 1_000_000

pytestmark = pytest.mark.benchmark(group=f"the C core, {TIMES} times")


@pytest.mark.parametrize("size", [64, 1024, 65536])
def test_crc32c(benchmark: BenchmarkFixture, size: int) -> None:
    data = ffi.from_buffer(bytes(size))
    benchmark(lib.loop_crc32c, data, size, TIMES)


def test_frame_a_record(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lib.loop_frame, TIMES) == 0


def test_put_into_the_ring(benchmark: BenchmarkFixture) -> None:
    data = ffi.from_buffer(bytes(64))
    # Enough times that the cost of making the ring does not count.
    assert benchmark(lib.loop_ring_put, data, 64, TIMES * 20) == 0


def test_encode_an_event(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lib.loop_encode, TIMES) == 0


def test_decode_an_event(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lib.loop_decode, TIMES) == 0


@pytest.fixture(scope="module", params=[10_000, RUNS], ids="{:,} runs".format)
def table(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = lib.loop_table_new(request.param)
    assert made != ffi.NULL
    yield made
    lib.loop_table_free(made)


def test_apply_to_the_table(benchmark: BenchmarkFixture, table: Any) -> None:
    assert benchmark(lib.loop_table_apply, table, TIMES) == 0


def test_find_a_run(benchmark: BenchmarkFixture, table: Any) -> None:
    assert benchmark(lib.loop_table_find, table, TIMES) == TIMES


def test_create_a_run(benchmark: BenchmarkFixture, table: Any) -> None:
    # The hash insert, a row, and now and then a larger table. It leaves the runs behind, so it is
    # the last of these tests.
    assert (
        benchmark.pedantic(lib.loop_table_create, (table, TIMES), rounds=200, warmup_rounds=5) == 0
    )
