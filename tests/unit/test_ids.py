"""Identifiers: making, converting, comparing, hashing, and not repeating."""

import copy
import os
import pickle
import random
import subprocess
import sys
import threading
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionqueue import (
    ActorId,
    AttemptId,
    Identifier,
    LedgerEntryId,
    RunId,
    SubscriptionId,
    TaskId,
    TenantId,
)
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError

TYPES = (TaskId, RunId, AttemptId, ActorId, TenantId, LedgerEntryId, SubscriptionId)
sixteen_bytes = st.binary(min_size=16, max_size=16)
every_type = pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)


@every_type
def test_a_new_identifier_is_a_random_uuid(cls):
    made = [cls() for _ in range(2000)]
    assert len(set(made)) == 2000
    for one in made:
        assert one.uuid.version == 4
        assert one.uuid.variant == RFC_4122
    for bit in set(range(128)) - {48, 49, 50, 51, 64, 65}:  # all but version and variant
        ones = sum(int.from_bytes(one.bytes, "big") >> (127 - bit) & 1 for one in made)
        assert 700 < ones < 1300


def test_no_random_byte_is_used_twice():
    made = [TaskId().bytes for _ in range(2000)]
    # These places are clear of the version and the variant.
    parts = {data[at : at + 5] for data in made for at in (1, 9)}
    assert len(parts) == 4000


@every_type
@given(data=sixteen_bytes)
def test_conversions_agree(cls, data):
    one = cls(data)
    uuid = UUID(bytes=data)
    assert one.bytes == data
    assert one.hex == uuid.hex
    assert one.uuid == uuid
    assert str(one) == str(uuid) == f"{one}"
    assert repr(one) == f"{cls.__name__}('{uuid}')"
    assert one.is_nil == (uuid.int == 0)
    sources = (
        uuid,
        uuid.hex,
        str(uuid),
        uuid.hex.upper(),
        str(uuid).upper(),
        bytearray(data),
        memoryview(data),
        one,
    )
    for source in sources:
        assert cls(source) == one
    assert cls.from_bytes(data) == one == cls(value=data)


def test_nil():
    assert TaskId("00000000-0000-0000-0000-000000000000").is_nil
    assert not TaskId("00000000-0000-0000-0000-000000000001").is_nil
    assert not TaskId("01000000-0000-0000-0000-000000000000").is_nil


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 31,
        "0" * 33,
        "g" * 32,
        "0" * 36,
        "{00000000-0000-0000-0000-000000000000}",
        "urn:uuid:00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000g",
        "0000000-00000-0000-0000-000000000000",
        "00000000-0000-0000-0000000000000-000",
        " 0000000000000000000000000000000",
        "0x000000000000000000000000000000",
        "٣" * 32,
        "\udc80" * 32,
        "0" * 31 + "\0",
    ],
)
def test_malformed_text_is_refused(text):
    with pytest.raises(InvalidFieldError) as caught:
        RunId(text)
    assert not isinstance(caught.value, InvalidFieldTypeError)
    assert (caught.value.type_name, caught.value.field, caught.value.value) == (
        "RunId",
        "value",
        text,
    )


@pytest.mark.parametrize("data", [b"", b"1" * 15, b"1" * 17, bytearray(15), memoryview(b"")])
def test_another_number_of_bytes_is_refused(data):
    for make in (RunId, RunId.from_bytes):
        with pytest.raises(InvalidFieldError, match="16 bytes"):
            make(data)


@pytest.mark.parametrize("value", [None, 0, 1.5, True, [], object(), TaskId(), UUID])
def test_other_types_are_refused(value):
    with pytest.raises(InvalidFieldTypeError) as caught:
        RunId(value)
    assert (caught.value.type_name, caught.value.field) == ("RunId", "value")
    with pytest.raises(InvalidFieldTypeError):
        RunId.from_bytes(value)


def test_from_bytes_takes_bytes_only():
    with pytest.raises(InvalidFieldTypeError):
        RunId.from_bytes("0" * 32)


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Identifier()


@every_type
def test_the_types_are_final(cls):
    with pytest.raises(TypeError):
        type("Sub", (cls,), {})


@every_type
def test_identifiers_are_immutable(cls):
    one = cls()
    for name in ("bytes", "data", "anything"):
        with pytest.raises(AttributeError):
            setattr(one, name, b"0" * 16)


@given(left=sixteen_bytes, right=sixteen_bytes)
def test_equality_is_that_of_type_and_bytes(left, right):
    assert (TaskId(left) == TaskId(right)) == (left == right)
    assert (TaskId(left) != TaskId(right)) == (left != right)
    assert TaskId(left) != RunId(left)
    assert TaskId(left) != UUID(bytes=left)
    assert TaskId(left) != left
    assert TaskId(left) is not None
    assert hash(TaskId(left)) == hash(TaskId(bytes(left)))


@given(left=sixteen_bytes, right=sixteen_bytes)
def test_runs_are_ordered_by_bytes(left, right):
    a, b = RunId(left), RunId(right)
    assert (a < b, a <= b, a > b, a >= b) == (
        left < right,
        left <= right,
        left > right,
        left >= right,
    )


@pytest.mark.parametrize("cls", [cls for cls in TYPES if cls is not RunId])
def test_nothing_else_is_ordered(cls):
    with pytest.raises(TypeError):
        assert cls() < cls()
    with pytest.raises(TypeError):
        assert RunId() < cls()


@pytest.mark.parametrize("shift", [0, 3, 7, 32, 61, 64, 96, 120])
def test_hashes_of_similar_identifiers_are_spread(shift):
    hashes = [
        hash(TaskId((number << shift & 2**128 - 1).to_bytes(16, "big"))) for number in range(4096)
    ]
    distinct = {number << shift & 2**128 - 1 for number in range(4096)}
    assert len(set(hashes)) == len(distinct)
    buckets = [0] * 256
    for value in set(hashes):
        buckets[value & 255] += 1
    assert max(buckets) < 16 + 40


@every_type
def test_pickle_and_copy(cls):
    one = cls()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(one, protocol))
        assert type(back) is cls
        assert back == one
    assert copy.copy(one) is one
    assert copy.deepcopy([one]) == [one]


def test_a_process_that_only_unpickles():
    one = AttemptId()
    program = f"import pickle; print(pickle.loads({pickle.dumps(one)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == str(one)


def test_seeding_random_does_not_matter():
    random.seed(1)
    first = TaskId()
    random.seed(1)
    assert TaskId() != first


def test_threads_never_get_the_same_identifier():
    made = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def work(into):
        start.wait()
        into.extend(AttemptId() for _ in range(5000))

    threads = [threading.Thread(target=work, args=(into,)) for into in made]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len({one for into in made for one in into}) == 40_000


@pytest.mark.platform("fork")
def test_a_forked_child_does_not_repeat_its_parent():
    AttemptId()  # so that there is a block of random bytes that a child could inherit
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"".join(AttemptId().bytes for _ in range(100)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    of_child = {data[at : at + 16] for at in range(0, len(data), 16)}
    assert len(of_child) == 100
    assert of_child.isdisjoint(AttemptId().bytes for _ in range(1000))
