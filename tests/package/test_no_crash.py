"""No sequence of public calls ends the interpreter: objects that were not made, or half made, wrong
arguments, subclasses of every kind.

Each class is tried in a process of its own, which must end by itself.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import _wal_native
import actionqueue as aq

PROGRAM = r"""
import copy, faulthandler, gc, importlib, os, pickle, random, sys, tempfile, types, warnings
faulthandler.enable()
warnings.simplefilter("ignore")
module, name, directory = sys.argv[1:]
os.chdir(directory)
import actionqueue as aq
cls = getattr(importlib.import_module(module), name)
task = aq.TaskSpec(payload=b"x")
command = aq.TaskCreateCommand(None, task, 1)
values = [None, 0, -1, 2**64, 1.5, "", "ready", b"", b"x" * 16, [], [1], {}, object(), int]
values += [task, task.id, aq.RunId(), command, [command], aq]
dangerous = {
    "with_traceback", "add_note", "__setstate__", "__class__", "__subclasshook__",
    "__init_subclass__", "mro", "__del__", "abort", "_run_once",
}

def attempt(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except BaseException as error:
        try:
            str(error), repr(error)
        except Exception:  # of an object that was not made, in its text
            pass
        return None

def use(made):
    for attribute in dir(type(made)):
        if attribute in dangerous:
            continue
        found = attempt(getattr, made, attribute)
        if callable(found):
            attempt(found)
            for value in values + [made]:
                attempt(found, value)
            attempt(found, None, None)
            attempt(found, 1, 2)
            attempt(found, [], 0, [])
            attempt(found, made, made, made)
        attempt(setattr, made, attribute, None)
    for function in (
        copy.copy, copy.deepcopy, pickle.dumps, repr, str, hash, bool, len, iter, list,
        gc.get_referents, sys.getsizeof,
    ):
        attempt(function, made)
    attempt(lambda: made == made), attempt(lambda: made < made)
    attempt(lambda: made + 1), attempt(lambda: made[0])
    for attribute in list(attempt(getattr, made, "__dict__") or {}):
        attempt(delattr, made, attribute)
        attempt(getattr, made, "submit")

objects = [attempt(cls.__new__, cls), attempt(cls), attempt(object.__new__, cls)]
for value in values:
    objects.append(attempt(cls, value))
for values_of_fields in ((None, None), (None, task, 1), (None, task.id, 1)):
    objects.append(attempt(cls, *values_of_fields))
OPTIONS = [
    {}, dict(gc=True), dict(gc=False), dict(gc=True, weakref=True), dict(gc=True, dict=True),
    dict(frozen=True, gc=True), dict(frozen=True, gc=True, weakref=True, dict=True),
    dict(frozen=True), dict(frozen=False), dict(kw_only=True), dict(tag=True),
    dict(cache_hash=True, frozen=True), dict(array_like=True, frozen=True),
]
for options in OPTIONS:
    for bases in ((cls,), (cls, Exception), (Exception, cls), (cls, dict)):
        for body in (
            None,
            lambda space: space.update(__slots__=()),
            lambda space: space.update(__slots__=("more",)),
        ):
            sub = attempt(types.new_class, "Sub", bases, options, body)
            if sub is None:
                continue
            objects.append(attempt(sub.__new__, sub))
            objects.append(attempt(sub))
            for value in (b"x", None, "a", (("a",), 1, "d")):
                for _ in range(8):
                    made = attempt(sub, value)
                    if made is None:
                        made = attempt(sub, None, task, 1)
                    if made is None:
                        made = attempt(sub, payload=b"x")
            objects.append(made)
for made in objects:
    if made is not None:
        use(made)
del objects, made
gc.collect()
print("alive")
os._exit(0)
"""


def classes() -> list[tuple[str, str]]:
    public = [
        cls for name, cls in vars(aq).items() if inspect.isclass(cls) and not name.startswith("_")
    ]
    # Errors are Python's own exceptions all through.
    found = {(cls.__module__, cls.__name__) for cls in public if not issubclass(cls, BaseException)}
    for name in _wal_native.MODULES:
        imported = importlib.import_module(f"_wal_native.{name}")
        own = [
            name
            for name, cls in vars(imported).items()
            if inspect.isclass(cls) and cls.__module__ == imported.__name__
        ]
        found |= {(imported.__name__, name) for name in own}
    return sorted(found)


@pytest.mark.parametrize(("module", "name"), classes())
def test_no_class_ends_the_interpreter(tmp_path: Path, module: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, name, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=250,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("alive\n")


CHAINS = r"""
import importlib, inspect, pkgutil, sys, threading
import msgspec
import actionqueue as aq

def attempt(cls, fields, position, inner):
    values = [1] * len(fields)
    values[position] = inner
    return cls(**dict(zip(fields, values)))

def chain(cls, fields, position, length):
    made = None
    for _ in range(length):
        made = attempt(cls, fields, position, made)

def work():
    for cls in classes:
        fields = getattr(cls, "__struct_fields__", cls.__match_args__)
        for position in range(len(fields)):
            try:
                chain(cls, fields, position, 2)
            except Exception:
                continue
            print(cls.__name__, fields[position], flush=True)
            chain(cls, fields, position, length)

def classes_in(module, *kinds):
    found = [cls for cls in vars(module).values() if inspect.isclass(cls)]
    return [cls for cls in found if issubclass(cls, kinds)]

classes = classes_in(aq, msgspec.Struct, aq.MutationOutcome)
names = [m.name for m in pkgutil.iter_modules(aq.__path__, "actionqueue.") if not m.ispkg]
for module in map(importlib.import_module, names):
    classes += [cls for cls in classes_in(module, msgspec.Struct) if cls not in classes]
# Since 3.12 the interpreter itself frees what it knows with less care for the stack than a small
# one has.
size, length = (256 * 1024, 20_000) if sys.version_info < (3, 12) else (2 * 1024 * 1024, 50_000)
threading.stack_size(size)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print("alive")
"""


def test_no_chain_of_objects_is_too_long_to_be_freed() -> None:
    """One object in another, in another: where the collector does not know a type, freeing the
    first takes a call for each.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHAINS],
        capture_output=True,
        encoding="utf-8",
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-400:], done.stderr[-4000:])
    assert done.stdout.endswith("alive\n"), done.stderr[-4000:]
    assert "TaskCreated" in done.stdout
