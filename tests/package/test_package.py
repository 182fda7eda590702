"""The package as it is installed: what importing it takes, what is public, and what a source
distribution holds.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import _wal_native
import actionqueue as aq
from tests.support.places import ROOT as TOP
from tests.support.project import (
    copy_of_the_project,
    directories_of_tools,
    files_of_the_project,
    run,
)

NATIVE = Path(str(_wal_native.__file__)).parent
NATIVE_MODULES = ("events", "fault", "fields", "ids", "log", "reader", "rules", "status", "table")
PUBLIC_MODULES = (
    "authority", "clock", "errors", "model", "model.actors", "model.attempts", "model.budgets",
    "model.engine", "model.ids", "model.leases", "model.platform", "model.retention",
    "model.run_policies", "model.runs", "model.subscriptions", "model.tasks",
    "opening", "projection", "queue", "recovery", "scheduler", "scheduler.backoff",
    "scheduler.claims", "scheduler.scheduler", "sync_policy",
)  # fmt: skip


def public_modules() -> Iterator[ModuleType]:
    for name in PUBLIC_MODULES:
        yield importlib.import_module(f"actionqueue.{name}")


# --- Importing ------------------------------------------------------------------------------------


def test_importing_takes_nothing_that_is_optional(tmp_path: Path) -> None:
    program = "import sys, actionqueue, actionqueue.inspection; print(*sorted(sys.modules))"
    loaded = {
        name.partition(".")[0] for name in run(sys.executable, "-c", program, cwd=tmp_path).split()
    }
    assert "actionqueue" in loaded
    assert not loaded & {
        "concurrent",
        "numpy",
        "click",
        "rich",
        "cffi",
        "pytest",
        "hypothesis",
        "prometheus_client",
        "opentelemetry",
        "pyarrow",
    }


def test_what_is_imported_where_it_is_asked_for(tmp_path: Path) -> None:
    """The scheduler and the stores take time that most programs need not spend."""
    program = """
import sys, actionqueue as aq
print([name in sys.modules for name in ("actionqueue.scheduler", "actionqueue.stores")])
assert {"Scheduler", "PostgresStore"} <= set(dir(aq))
assert aq.Scheduler is aq.scheduler.Scheduler
assert aq.LogStore.__module__ == "actionqueue.stores.protocol"
from actionqueue import *
print(Claim is aq.Claim, hasattr(aq, "nothing"))
"""
    printed = run(sys.executable, "-c", program, cwd=tmp_path)
    assert printed == "[False, False]\nTrue False\n"


@pytest.mark.parametrize("name", NATIVE_MODULES)
def test_a_missing_native_module_is_an_import_error(tmp_path: Path, name: str) -> None:
    """It is never replaced by something slow, nor left out quietly."""
    program = f"""
import sys
sys.modules["_wal_native.{name}"] = None
try:
    import actionqueue, actionqueue.inspection
except ImportError as error:
    print("refused", "_wal_native.{name}" in str(error))
"""
    assert run(sys.executable, "-c", program, cwd=tmp_path) == "refused True\n"


@pytest.mark.parametrize(
    "name", ["_wal_native", "_wal_native.ids", "_wal_native.outcome", "actionqueue.store"]
)
def test_what_pickles_name_can_be_imported_first(tmp_path: Path, name: str) -> None:
    run(
        sys.executable,
        "-W",
        "error",
        "-c",
        f"import {name}, actionqueue; actionqueue.open",
        cwd=tmp_path,
    )


def test_native_modules_say_what_to_import_instead(tmp_path: Path) -> None:
    program = """
try:
    import _wal_native.table
except ImportError as error:
    print(error)
"""
    assert (
        run(sys.executable, "-c", program, cwd=tmp_path)
        == "import actionqueue, not _wal_native.table\n"
    )


def test_one_shared_object_is_loaded(tmp_path: Path) -> None:
    """One core has one of each of its global states. The native modules import nothing of the
    package above.
    """
    program = """
import sys, actionqueue, actionqueue.inspection, actionqueue.aio, actionqueue.cli.entry
ours = {name: module for name, module in sys.modules.items() if name.startswith("_wal_native.")}
print(*sorted({module.__file__ for module in ours.values() if not module.__file__.endswith(".py")}))
"""
    (shared_object,) = run(sys.executable, "-c", program, cwd=tmp_path).split()
    assert Path(shared_object).parent == NATIVE
    assert [path.name for path in NATIVE.iterdir() if path.suffix in {".so", ".pyd"}] == [
        Path(shared_object).name
    ]


def test_types_are_installed_with_the_package() -> None:
    for package in (aq, _wal_native):
        assert (Path(str(package.__file__)).parent / "py.typed").is_file()
    for name in NATIVE_MODULES:
        module = importlib.import_module(f"_wal_native.{name}")
        assert str(module.__file__).endswith((".so", ".pyd"))
        assert (NATIVE / f"{name}.pyi").is_file(), f"{name} has no stub"


# --- What is public -------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    for name in aq.__all__:
        assert hasattr(aq, name)
    exported: dict[str, Any] = {}
    exec("from actionqueue import *", exported)  # noqa: S102 -- what a star import gives
    assert set(aq.__all__) <= set(exported)


def test_every_public_class_and_function_is_exported() -> None:
    for module in public_modules():
        assert set(module.__all__) <= set(aq.__all__)
        for name, value in vars(module).items():
            is_own = getattr(value, "__module__", None) == module.__name__
            if (
                is_own
                and not name.startswith("_")
                and (inspect.isclass(value) or inspect.isfunction(value))
            ):
                assert name in module.__all__, (
                    f"{module.__name__}.{name} is public and not exported"
                )
    # Nothing from elsewhere comes along under a public name.
    for name, value in vars(aq).items():
        if not name.startswith("_") and not inspect.ismodule(value):
            assert name in aq.__all__, f"actionqueue.{name} is not exported"


def members_of(cls: type) -> Iterator[tuple[str, object]]:
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] in {"actionqueue", "_wal_native"}:
            for name, value in vars(base).items():
                is_callable = inspect.isroutine(value) or isinstance(
                    value, (property, classmethod, staticmethod)
                )
                if is_callable and not name.startswith("_"):
                    yield f"{base.__module__}.{base.__qualname__}.{name}", getattr(cls, name, value)


def test_every_public_object_tells_what_it_is() -> None:
    assert aq.__doc__
    undocumented = [module.__name__ for module in public_modules() if not module.__doc__]
    for name in aq.__all__:
        value = getattr(aq, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            # An inherited one would tell of something else; a struct's is made of its signature
            # where it has none.
            text = value.__doc__ or ""
            if not text or text.startswith(f"{name}("):
                undocumented.append(name)
        if inspect.isclass(value):
            undocumented += [
                member for member, routine in members_of(value) if not inspect.getdoc(routine)
            ]
    assert sorted(set(undocumented)) == []


def test_the_version_is_public() -> None:
    assert aq.__version__.count(".") == 2
    assert "__version__" in aq.__all__


# --- The tree -------------------------------------------------------------------------------------

MACHINE_PATHS = [f"{TOP}/", f"{TOP.parent / 'shared'}/", f"{Path.home()}/"]


def test_nothing_names_a_path_of_some_machine() -> None:
    for file in files_of_the_project():
        content = file.read_bytes()
        for path in filter(lambda path: path.count("/") > 1, MACHINE_PATHS):
            assert path.encode() not in content, f"{file.relative_to(TOP)} names {path}"


# --- The source distribution ----------------------------------------------------------------------


@pytest.mark.platform("sources")
@pytest.mark.package
@pytest.mark.timeout(1800)
def test_a_source_distribution_is_complete_and_installs_in_a_new_environment(
    tmp_path: Path,
) -> None:
    source = copy_of_the_project(tmp_path / "source")
    wanted = {
        str(file.relative_to(source)) for file in (source / "src").rglob("*") if file.is_file()
    }
    tools = directories_of_tools(tmp_path)
    # Nothing that is installed here must help: only the tools and the run-time dependencies are
    # shared.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "ACTIONQUEUE_", "PIP_"))
    }
    # A build with assertions compiles faster.
    with_tools = environment | {"PYTHONPATH": os.pathsep.join(tools), "ACTIONQUEUE_DEBUG": "1"}

    build = (
        "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    )
    name = run(
        sys.executable, "-c", build, str(tmp_path / "dist"), cwd=source, env=with_tools
    ).splitlines()[-1]
    distribution = tmp_path / "dist" / name
    with tarfile.open(distribution) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert wanted <= held
    kinds = {Path(file).suffix for file in wanted}
    assert {".pyx", ".pxd", ".pyi", ".c", ".h", ".py", ".typed"} <= kinds
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= held

    fresh = tmp_path / "environment"
    venv.create(fresh, with_pip=True)
    python = str(fresh / "bin" / "python")
    install = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    run(python, *install, str(distribution), cwd=tmp_path, env=with_tools)
    [site_packages] = fresh.glob("lib/python*/site-packages")
    dependencies = {
        str(Path(str(importlib.import_module(name).__file__)).parent.parent)
        for name in ("msgspec",)
    }
    (site_packages / "dependencies.pth").write_text(
        "\n".join(sorted(dependencies)), encoding="utf-8"
    )
    where = run(
        python,
        "-c",
        "import actionqueue; print(actionqueue.__file__)",
        cwd=tmp_path,
        env=environment,
    )
    assert Path(where.strip()).is_relative_to(site_packages)
    for file in (
        "_wal_native/py.typed",
        "actionqueue/py.typed",
        *(f"_wal_native/{name}.pyi" for name in NATIVE_MODULES),
    ):
        assert (site_packages / file).is_file()
    assert not list(site_packages.rglob("_wal_native/*.pyx"))
    # Only the build reads headers.
    assert not list(site_packages.rglob("_wal_native_declarations*"))
    smoke = tmp_path / "smoke.py"
    smoke.write_bytes((TOP / "tests" / "package" / "smoke.py").read_bytes())
    assert "passed" in run(python, str(smoke), cwd=tmp_path, env=environment)
