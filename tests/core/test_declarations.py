"""What Cython and this door are told of the core's headers: src/_wal_native_declarations.py.

That it holds of the core itself is shown by each build, which compiles it against the headers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.core.door import CORE, DECLARATIONS, module_at

reader = module_at(DECLARATIONS, "_wal_native_declarations")

TABLE = """/* Each kind once. */
#ifndef ALSO
#define ALSO KIND
#endif
KIND(1, CREATED, created, FIELD(ID, task_id)
     FIELD(PAIR, first, second) FIELD(MUST, at->first > 0 || at->second <= 1))
ALSO(2, ENDED, created, FIELD(ID, task_id))
#undef KIND
#undef ALSO
#undef FIELD
"""
HEADER = r"""/* A comment with a ; and a { in it. */
#ifndef KINDS_H
#define KINDS_H

#include "base/small.h"

enum kind {
#define KIND(code, name, member, fields) K_##name = code,
#include "kinds.def"
    K_END,
    K_LAST = K_END - 1
};

#define MEMBER_ID(member) uint8_t member[16];
#define MEMBER_PAIR(one, other) \
    uint32_t one; uint64_t other;
#define MEMBER_MUST(condition)
#define FIELD(form, ...) MEMBER_##form(__VA_ARGS__)
#define KIND(code, name, member, fields) typedef struct k_##member { fields } k_##member;
#define ALSO(code, name, member, fields)
#include "kinds.def"

typedef struct event {
    const struct event *before, *after;
    union {
        int nothing;
#define KIND(code, name, member, fields) k_##member member;
#define ALSO(code, name, member, fields)
#include "kinds.def"
    } as;
    uint8_t from[SMALL];
    int (*read)(void *context, const char *from);
} event;

#endif
"""
SMALL = """#ifndef SMALL_H
#define SMALL_H
#include <stdint.h>
#define SMALL 4
#define LARGE 0xFFFFFFFFu
#define LARGEST 18446744073709551615u
#define A_SUM (SMALL + 1)
#if defined(_WIN32)
#define SYSTEM 1
int only_on_one_system(void);
#else
int only_on_the_others(void);
#endif
#ifndef NDEBUG
int only_with_assertions(void);
#endif
typedef struct table table;
typedef enum status { OK = 0, BAD = 1 } status;
typedef int (*visit)(void *context);
table *table_new(void);
status table_find(const table *table, const uint8_t id[16], visit visit);
#endif
"""
IN_CYTHON = """
cdef extern from "base/small.h" nogil:
    enum:
        SMALL
    const uint32_t LARGE
    const uint64_t LARGEST
    ctypedef struct table:
        pass
    ctypedef enum status:
        OK
        BAD
    ctypedef int (*visit)(void *context) noexcept nogil
    table *table_new()
    status table_find(const table *table, const uint8_t id[16], visit visit)


cdef extern from "kinds.h" nogil:
    enum:
        K_CREATED
        K_ENDED
        K_END
        K_LAST
    ctypedef struct k_created:
        uint8_t task_id[16]
        uint32_t first
        uint64_t second
    ctypedef union event_as:
        int nothing
        k_created created
    ctypedef struct event:
        const event *before, *after
        event_as fields "as"
        uint8_t from_ "from"[SMALL]
        int (*read)(void *context, const char *from_) noexcept nogil
"""


@pytest.fixture
def core(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "small.h").write_text(SMALL, encoding="utf-8")
    (tmp_path / "kinds.def").write_text(TABLE, encoding="utf-8")
    (tmp_path / "kinds.h").write_text(HEADER, encoding="utf-8")
    return tmp_path


def test_headers_are_read_for_cython(core: Path) -> None:
    text = reader.in_cython(reader.public_headers(core))
    assert text.partition("cimport ")[2] == f"uint32_t, uint64_t, uint8_t\n\n{IN_CYTHON}"


def test_the_same_is_read_for_c(core: Path) -> None:
    small, kinds = (reader.in_c(header) for header in reader.public_headers(core))
    assert "#define LARGE 4294967295\n" in small
    assert "typedef struct k_created { uint8_t task_id [ 16 ] ;" in kinds
    assert "enum kind { K_CREATED = 1 , K_ENDED = 2 , K_END , K_LAST = K_END - 1 };" in kinds


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a_internal.h", "int secret(void);"),
        ("a.h", "#include <stdio.h>\nint secret(void);"),
        ("a.h", "static inline int secret(void) { return 1; }"),
        ("a.h", '#include "b.h"\nint secret(void);'),
    ],
)
def test_private_headers_are_left_out(core: Path, name: str, text: str) -> None:
    (core / name).write_text(text, encoding="utf-8")
    (core / "b.h").write_text("#include <signal.h>\n", encoding="utf-8")
    assert [header.name for header in reader.public_headers(core)] == ["base/small.h", "kinds.h"]


def test_functions_with_a_body_are_left_out(core: Path) -> None:
    (core / "base" / "bytes.h").write_text(
        "static inline int one(void) { if (1) { return 1; } return 2; }\nint two(void);\n",
        encoding="utf-8",
    )
    assert reader.in_c(reader.public_headers(core)[0]) == "int two ( void );"


def test_what_can_not_be_read_is_told_with_its_header(core: Path) -> None:
    (core / "kinds.h").write_text("#define F(a) a\nF(1", encoding="utf-8")
    with pytest.raises(IndexError) as raised:
        reader.public_headers(core)
    assert raised.value.__notes__ == ["in the header kinds.h"]


def test_the_file_changes_only_with_the_declarations(core: Path, tmp_path: Path) -> None:
    """Cython translates again what is older than a file that it depends on."""
    written = tmp_path / "build" / "core.pxd"
    reader.write_pxd(core, written)
    os.utime(written, (1, 1))
    (core / "kinds.h").write_text(HEADER.replace("A comment", "Another comment"), encoding="utf-8")
    reader.write_pxd(core, written)
    assert written.stat().st_mtime == 1
    (core / "kinds.def").write_text(TABLE.replace("first, second", "first, last"), encoding="utf-8")
    reader.write_pxd(core, written)
    assert written.stat().st_mtime > 1
    assert "uint64_t last" in written.read_text(encoding="utf-8")


def test_the_core_is_read_alike_each_time() -> None:
    first, second = (reader.in_cython(reader.public_headers(CORE)) for _ in range(2))
    assert first == second
    assert "ctypedef struct aqw_event_lease:\n        uint8_t run_id[16]\n" in first
    assert "aqw_status aqw_submit(aqw_log *log, " in first
