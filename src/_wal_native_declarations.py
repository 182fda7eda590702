"""Reads the headers of the C core, for everything outside of C that needs their declarations.

Cython gets them as ``core.pxd``, which setup.py writes into the build directory before each build;
the tests' door gets them as C, for cffi; the package gets the kinds of events as the enumeration in
``actionqueue/model/kinds.py``. So no declaration is written down a second time. This file belongs
to the build and is not installed. Run as a program, it prints ``core.pxd``.

It takes in all headers but those that are private to a few C files: the ones with such a name
(``*internal.h``), the ones with code in them (``base/bytes.h`` apart), the ones that include more
of the system than integer types, and those that include one of these.

This is no parser of C. Declarators mean the same in C, in Cython and to cffi, so they are passed on
as they are: Cython and cffi read them in full, and the C compiler holds what they understood
against the headers. Done here is what neither of the two does, word by word: expand macros that
write declarations (the tables, ``*.def``), tell which macros are constants, and lay out structs and
enums as Cython wants them. What it can't do shows when Cython or the C compiler refuses the result.

A library would not replace much of it: pycparser reads only what a preprocessor has expanded. And a
compiler's preprocessor has other options on each system, and puts numbers in place of constants.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEADERS_OF_INTEGERS = {"stddef.h", "stdint.h", "string.h"}
NAMES_IN_CYTHON = {"as": "fields"}
"""What a struct's member is called where Python has a keyword of its name; else it gets a ``_``."""
POINTER_ENDS = " noexcept nogil"
"""C knows no exceptions and no GIL. To Cython this is clear of functions, but not of pointers."""

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*?)\s*")
DEFINITION = re.compile(r"(\w+)(?:\(([^)]*)\))?\s*(.*)")
CONSTANT = re.compile(r"(-?(?:0[xX][0-9A-Fa-f]+|\d+))[uU]?")
WORD = re.compile(r"""\w+|"[^"]*"|\.\.\.|##|->|<<|>>|&&|\|\||[<>=!]=|\S""")
INTEGER_TYPE = re.compile(r"u?int(\d+|ptr)_t")


@dataclass(frozen=True)
class Macro:
    """A macro that is no constant. Without parameters it is used without parentheses."""

    parameters: list[str] | None
    body: list[str]


@dataclass
class Header:
    """What a header declares, in its order. A declaration is a list of words, without its ``;``."""

    name: str
    constants: dict[str, int] = field(default_factory=dict)
    declarations: list[list[str]] = field(default_factory=list)


# ---- Which headers, and in which order ----


def public_headers(core: Path) -> list[Header]:
    """Return every public header, each after those that it includes."""
    paths = sorted(core.rglob("*.h"))
    texts = {path.relative_to(core).as_posix(): text_of(path) for path in paths}
    private = {name for name, text in texts.items() if is_private(name, text)}
    ordered: list[str] = []

    def add(name: str) -> bool:
        """Add the header after what it includes; return False where it is private."""
        included = re.findall(r'#include\s+"([^"]+\.h)"', texts[name])
        if name in private or not all(add(other) for other in sorted(included)):
            private.add(name)
            return False
        if name not in ordered:
            ordered.append(name)
        return True

    for name in texts:
        add(name)
    preprocessor = Preprocessor(core)
    return [preprocessor.header(name, texts[name]) for name in ordered]


def is_private(name: str, text: str) -> bool:
    """Tell whether a header is private for what it is itself."""
    has_code = "static inline" in text and name != "base/bytes.h"
    of_the_system = set(re.findall(r"#include\s+<([^>]+)>", text))
    return name.endswith("internal.h") or has_code or not of_the_system <= HEADERS_OF_INTEGERS


def text_of(path: Path) -> str:
    """Return a header or a table without comments, and with each directive in one line."""
    return COMMENT.sub(" ", path.read_text(encoding="utf-8")).replace("\\\n", " ")


# ---- What a preprocessor does ----


class Preprocessor:
    """Expands macros, and obeys directives, like a compiler's.

    It differs in three things. Constants stay names. A header that includes another one does not
    get its text: each is read once, in an order that has all macros known in time. And a condition
    holds only where it begins ``#ifndef`` and the name is defined in the same file, as with include
    guards. Others depend on the compiler or the system, so what stands under them is left out.
    """

    def __init__(self, core: Path) -> None:
        self.core = core
        self.macros: dict[str, Macro] = {}

    def header(self, name: str, text: str) -> Header:
        """Read a header; those that it includes have been read before."""
        header = Header(name)
        try:
            header.declarations = list(split_declarations(list(self.words(text, header))))
        except Exception as error:
            error.add_note(f"in the header {name}")
            raise
        return header

    def words(self, text: str, header: Header) -> Iterator[str]:
        """Return the words of a text that are left without directives and macros."""
        conditions: list[bool] = []
        code: list[str] = []
        for line in text.splitlines():
            directive = DIRECTIVE.fullmatch(line)
            if directive is None:
                code += WORD.findall(line) if all(conditions) else []
                continue
            yield from self.expanded(code)
            code = []
            name, rest = directive.groups()
            if name.startswith("if"):
                is_own = name == "ifndef" and re.search(rf"#\s*define\s+{rest}\b", text) is not None
                conditions.append(is_own and rest not in self.macros)
            elif name.startswith("el"):
                conditions[-1] = False
            elif name == "endif":
                conditions.pop()
            elif all(conditions):
                yield from self.obeyed(name, rest, header)
        yield from self.expanded(code)

    def obeyed(self, name: str, rest: str, header: Header) -> Iterator[str]:
        """Obey a directive that is no condition, and return the words of what it includes."""
        if name == "define":
            self.define(rest, header)
        elif name == "undef":
            self.macros.pop(rest, None)
        elif name == "include" and rest.endswith('.def"'):
            yield from self.words(text_of(self.core / rest.strip('"')), header)

    def define(self, definition: str, header: Header) -> None:
        """Note a macro, as one of the header's constants where it is a number."""
        name, parameters, body = DEFINITION.fullmatch(definition).groups()  # type: ignore[union-attr]
        constant = CONSTANT.fullmatch(body) if parameters is None else None
        if constant is not None:
            header.constants[name] = int(constant[1], 0)
            return
        names = None if parameters is None else re.findall(r"\w+|\.\.\.", parameters)
        self.macros[name] = Macro(names, WORD.findall(body))

    def expanded(self, words: list[str]) -> list[str]:
        """Return the words with every macro among them expanded."""
        result: list[str] = []
        pending = words[::-1]
        while pending:
            word = pending.pop()
            macro = self.macros.get(word)
            if macro is None or (macro.parameters is not None and pending[-1:] != ["("]):
                result.append(word)
            else:
                arguments = [] if macro.parameters is None else pop_arguments(pending)
                pending += reversed(self.replacement(macro, arguments))
        return result

    def replacement(self, macro: Macro, arguments: list[list[str]]) -> list[str]:
        """Return a macro's body with arguments for its parameters, and what ``##`` joins joined."""
        names = macro.parameters or []
        given = dict(zip(names, arguments, strict=False))
        if names[-1:] == ["..."]:
            rest = arguments[len(names) - 1 :]
            given["__VA_ARGS__"] = [word for part in rest for word in [",", *part]][1:]
        result: list[str] = []
        for place, word in enumerate(macro.body):
            is_joined = "##" in macro.body[max(place - 1, 0) : place + 2]
            argument = given.get(word, [word])
            result += argument if is_joined or word not in given else self.expanded(argument)
        while "##" in result:
            place = result.index("##")
            result[place - 1 : place + 2] = [result[place - 1] + result[place + 1]]
        return result


def pop_arguments(pending: list[str]) -> list[list[str]]:
    """Take a macro's arguments, with their parentheses, from the end of words in reverse order."""
    arguments: list[list[str]] = [[]]
    depth = 0
    while True:
        word = pending.pop()
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return arguments
        if word == "," and depth == 1:
            arguments.append([])
        elif word != "(" or depth > 1:
            arguments[-1].append(word)


# ---- Declarations ----


def split_declarations(words: list[str], end: str = ";") -> Iterator[list[str]]:
    """Return the declarations among the words. Functions that have a body are left out."""
    depth = 0
    declaration: list[str] = []
    for word in [*words, end]:
        depth += (word in {"(", "[", "{"}) - (word in {")", "]", "}"})
        if depth == 0 and word == end:
            if declaration:
                yield declaration
            declaration = []
        elif depth == 0 and word == "}" and declaration[0] == "static":
            declaration = []
        else:
            declaration.append(word)


def in_c(header: Header) -> str:
    """Return a header's declarations as C without macros."""
    constants = [f"#define {name} {value}" for name, value in header.constants.items()]
    return "\n".join([*constants, *(f"{' '.join(words)};" for words in header.declarations)])


def in_cython(headers: list[Header]) -> str:
    """Return the headers' declarations as the text of a ``.pxd`` file."""
    words = {word for header in headers for words in header.declarations for word in words}
    types = sorted({"uint32_t", "uint64_t"} | set(filter(INTEGER_TYPE.fullmatch, words)))
    lines = [
        '"""The C surface. src/_wal_native_declarations.py wrote this file from the headers."""',
        "",
        f"from libc.stdint cimport {', '.join(types)}",
    ]
    for header in headers:
        body = [*constant_lines(header.constants)]
        for declaration in header.declarations:
            body += cython_lines(declaration)
        if body:
            lines += ["", "", f'cdef extern from "{header.name}" nogil:', *indented(body)]
    return "\n".join(lines) + "\n"


def constant_lines(constants: dict[str, int]) -> Iterator[str]:
    """Declare constants with a type that holds them: Cython takes all of an enum for ints."""
    small = [name for name, value in constants.items() if abs(value) < 1 << 31]
    if small:
        yield from ["enum:", *indented(small)]
    for name, value in constants.items():
        if name not in small:
            yield f"const {'uint32_t' if 0 <= value < 1 << 32 else 'uint64_t'} {name}"


def cython_lines(declaration: list[str]) -> list[str]:
    """Return a declaration as Cython wants it."""
    is_type = declaration[0] == "typedef"
    words = declaration[1:] if is_type else declaration
    if "{" in words:
        return type_lines(words, words[-1] if is_type else "")
    if is_type and words[0] in {"struct", "union"} and "(" not in words:
        return [f"ctypedef {words[0]} {words[-1]}:", *indented(["pass"])]
    if not is_type:
        return [declarator(words)]
    return [f"ctypedef {declarator(words)}{POINTER_ENDS * ('(' in words)}"]


def type_lines(words: list[str], name: str) -> list[str]:
    """Declare a struct, a union or an enum. Without a name an enum's members are just ints."""
    begin, end = words.index("{"), len(words) - words[::-1].index("}")
    body = words[begin + 1 : end - 1]
    if words[0] == "enum":
        members = [member[0] for member in split_declarations(body, ",")]
        return [f"ctypedef enum {name}:" if name else "enum:", *indented(members)]
    before: list[str] = []
    members = []
    for member in split_declarations(body):
        if "{" in member:  # its type has no name in C, and Cython wants one
            inner = f"{name}_{member[-1]}"
            before += type_lines(member, inner)
            member = [inner, member[-1]]  # noqa: PLW2901
        members.append(declarator(member, is_member=True) + POINTER_ENDS * ("(" in member))
    return [*before, f"ctypedef {words[0]} {name}:", *indented(members)]


def declarator(words: list[str], *, is_member: bool = False) -> str:
    """Return a declaration of a name in Cython, where no name is one of Python's keywords."""
    depth = 0
    result: list[str] = []
    for word in words:
        depth += (word == "(") - (word == ")")
        if keyword.iskeyword(word):
            name = NAMES_IN_CYTHON.get(word, f"{word}_")
            result.append(f'{name} "{word}"' if is_member and depth == 0 else name)
        elif word not in {"struct", "union", "enum"}:
            result.append(word)
    text = " ".join(result).replace("( void )", "( )")
    text = re.sub(r" ([),\[\]])", r"\1", text)
    text = re.sub(r"([(\[*]) ", r"\1", text)
    return re.sub(r"(\w|\)) \((?!\*)", r"\1(", text)


def indented(lines: list[str]) -> list[str]:
    """Return the lines as a block of Cython."""
    return [f"    {line}" for line in lines]


# ---- The kinds of events, for Python ----

KINDS = '''"""The kinds of events. The build writes this file, from core/event/events.def."""

from enum import IntEnum

from actionqueue.vocabulary import vocabulary

__all__ = ["EventKind"]


@vocabulary("kind")
class EventKind(IntEnum):
    """The permanent codes of the kinds in the log."""

'''


def in_python(headers: list[Header]) -> str:
    """Return the module of the package that has the kinds of events and their codes."""
    declarations = [words for header in headers for words in header.declarations]
    (kinds,) = [words for words in declarations if words[:2] == ["enum", "aqw_event_kind"]]
    lines = []
    for member in split_declarations(kinds[3:-1], ","):
        name, is_code, code = member[0].removeprefix("AQW_"), member[1:2], member[2:]
        if is_code and code[0].isdecimal():  # the others are where the codes end
            lines.append(f"    {name} = {code[0]}\n")
    return KINDS + "".join(lines)


# ---- Files ----


def write_pxd(core: Path, to: Path) -> None:
    """Write the declarations for Cython."""
    write_changed(in_cython(public_headers(core)), to)


def write_kinds(core: Path, to: Path) -> None:
    """Write the kinds of events for Python."""
    write_changed(in_python(public_headers(core)), to)


def write_changed(text: str, to: Path) -> None:
    """Write a file, unless it holds the text: its time tells of changes."""
    if not to.exists() or to.read_text(encoding="utf-8") != text:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.stdout.write(in_cython(public_headers(Path(__file__).parent / "_wal_native" / "core")))
