"""What a signal's handler raises inside a loop reaches the clean-up around it.

CPython 3.13 leaves the jump of a ``while`` loop, from its end back to its beginning, out of the try
and with blocks in the same function, and CPython 3.14 that of some loops and comprehensions. What a
handler raises there runs no clean-up: half of a call stayed applied. So such a loop has a function
of its own, whose caller has the block.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support import places

SOURCES = sorted((places.ROOT / "src").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp)


def loops_in_blocks(node: ast.AST, *, is_inside: bool = False) -> Iterator[int]:
    """Yield the lines of the loops that stand in a block with clean-up."""
    if isinstance(node, FUNCTIONS):
        is_inside = False
    if is_inside and is_a_loop(node):
        yield node.lineno
    within: list[ast.stmt | ast.ExceptHandler] = []
    if isinstance(node, (ast.With, ast.AsyncWith)) and not suppresses(node):
        within = [*node.body]
    elif isinstance(node, ast.Try):
        if node.finalbody:
            within = [*node.body, *node.handlers, *node.orelse]
        elif any(catches_all(handler) for handler in node.handlers):
            within = [*node.body]
    for child in ast.iter_child_nodes(node):
        yield from loops_in_blocks(child, is_inside=is_inside or child in within)


def is_a_loop(node: ast.AST) -> bool:
    return isinstance(node, ast.While) or (
        isinstance(node, COMPREHENSIONS) and any(each.ifs for each in node.generators)
    )


def suppresses(block: ast.With | ast.AsyncWith) -> bool:
    """Whether the block only swallows what the loop itself raises."""
    return all(ast.unparse(item).startswith("suppress(") for item in block.items)


def catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or "BaseException" in ast.unparse(handler.type)


def test_the_search_finds_loops_in_blocks_only() -> None:
    program = """
try:
    while f():
        g()
finally:
    h()
with f():
    x = [a for a in g() if a]
try:
    while f():
        g()
except BaseException:
    while f():
        h()
while g():
    with suppress(f):
        while h():
            pass
with f():
    def inner():
        while g():
            pass
"""
    assert list(loops_in_blocks(ast.parse(program))) == [3, 8, 10]


def test_no_loop_stands_in_a_block_with_clean_up() -> None:
    found = {path.name: list(loops_in_blocks(parsed(path))) for path in SOURCES}
    assert len(found) > 50
    assert {name: lines for name, lines in found.items() if lines} == {}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))
