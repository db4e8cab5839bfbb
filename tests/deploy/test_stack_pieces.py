"""The pieces of the stack that decide without a process: order, waits, ports, files, probes."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.stack.backoff import Backoff
from deploy.stack.errors import PortTaken, StackError
from deploy.stack.files import rotate, tail_file, write_atomically
from deploy.stack.part import Part, start_levels
from deploy.stack.parts import mlflow_part, ready_file, worker_part
from deploy.stack.ports import PortBook, is_free, pick_free_port, require_free
from deploy.stack.probe import HeartbeatProbe, HttpProbe, KafkaProbe, TcpProbe
from deploy.stack.state import Health, PartState, ProcessId, StackState, read_state, state_file, write_state


def _part(name: str, *depends_on: str) -> Part:
    return Part(name=name, argv=["true"], log=Path("log"), ready=lambda: True, depends_on=depends_on)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server socket that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_parts_are_grouped_by_what_they_need() -> None:
    parts = [_part("agent", "kafka", "mlflow"), _part("kafka"), _part("mlflow"), _part("api", "agent")]
    assert [[part.name for part in level] for level in start_levels(parts)] == [
        ["kafka", "mlflow"],
        ["agent"],
        ["api"],
    ]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([_part("a"), _part("a")], "same name"),
        ([_part("a", "b")], "depends on b, which is not among: a"),
        ([_part("a", "b"), _part("b", "a")], "in a circle: a, b"),
    ],
)
def test_order_that_cannot_be_is_refused(parts: list[Part], message: str) -> None:
    with pytest.raises(StackError, match=message):
        start_levels(parts)


def test_waits_double_to_a_limit_and_start_over_after_health() -> None:
    waits = Backoff()
    assert [waits.next_s(healthy_s=1) for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert waits.next_s(healthy_s=30) == 0.5
    assert waits.next_s(healthy_s=0) == 1.0


def test_port_book_keeps_ports_and_replaces_taken_ones(tmp_path: Path) -> None:
    book = PortBook(tmp_path / "ports.json")
    api, serving = book.choose("api"), book.choose("serving")
    assert api != serving
    assert PortBook(tmp_path / "ports.json").choose("api") == api
    with socket.create_server(("127.0.0.1", api)):
        assert book.choose("api") != api
    (tmp_path / "ports.json").write_text("not json")
    assert is_free(book.choose("api"))


def test_picked_port_is_outside_the_range_of_outgoing_connections() -> None:
    first, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert pick_free_port() < int(first)


def test_taken_port_is_told_with_its_holder_and_setting(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(PortTaken) as taken:
        require_free(port, "HOMEOSTAT_API_PORT")
    message = str(taken.value)
    assert f"Port {port} (from HOMEOSTAT_API_PORT)" in message
    assert f"(process {os.getpid()})" in message
    assert "leave HOMEOSTAT_API_PORT unset" in message


def test_state_survives_the_way_through_its_file(tmp_path: Path) -> None:
    part = PartState(name="kafka", log="kafka.log", health=Health.HEALTHY, process=ProcessId.of(os.getpid()))
    state = StackState(supervisor=ProcessId.of(os.getpid()), parts=[part], versions={"kafka": "4.1.1"})
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert json.loads(state_file(tmp_path).read_text())["parts"][0]["health"] == "healthy"
    state_file(tmp_path).write_text('{"supervisor": 1')
    assert read_state(tmp_path) is None


def test_process_id_does_not_take_another_process_for_its_own() -> None:
    mine = ProcessId.of(os.getpid())
    assert mine.process() is not None
    assert ProcessId(mine.pid, mine.create_time - 60).process() is None
    assert ProcessId(2**22 + 1, mine.create_time).process() is None


def test_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_end_of_a_log_and_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    assert tail_file(log) == ""
    log.write_text("".join(f"line {number}\n\n" for number in range(100)))
    assert tail_file(log, 2) == "line 98\nline 99"
    rotate(log, max_bytes=10_000)
    assert log.exists()
    rotate(log, max_bytes=10)
    assert not log.exists()
    assert (tmp_path / "part.log.1").exists()


def test_heartbeat_grows_old(tmp_path: Path) -> None:
    beat = HeartbeatProbe(tmp_path / "role.ready", max_age_s=5)
    assert not beat()
    beat.path.touch()
    assert beat()
    os.utime(beat.path, (time.time() - 6, time.time() - 6))
    assert not beat()


def test_listener_that_does_not_answer_is_no_broker_and_no_web_server(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.stack.probe.PROBE_TIMEOUT_S", 0.2)
    host, port = listener.getsockname()
    assert TcpProbe(host, port)()
    assert not KafkaProbe(host, port)()
    assert not HttpProbe(f"http://{host}:{port}/health")()
    listener.close()
    assert not TcpProbe(host, port)()
    assert not KafkaProbe(host, port)()


@pytest.mark.parametrize(("code", "healthy"), [(200, True), (503, False)])
def test_http_probe_reads_the_status(code: int, healthy: bool) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        assert HttpProbe(f"http://127.0.0.1:{server.server_port}/healthz")() is healthy
        serving.join()


def test_worker_with_a_port_is_asked_over_http_and_one_without_by_its_file(tmp_path: Path) -> None:
    api = worker_part("api", tmp_path, {"HOMEOSTAT_BROKER": "b:1"}, port=8080, depends_on=["kafka"])
    assert api.ready == HttpProbe("http://127.0.0.1:8080/healthz")
    assert (api.ports, api.depends_on) == ({"api": 8080}, ["kafka"])
    judge = worker_part("judge", tmp_path, {"HOMEOSTAT_BROKER": "b:1"})
    assert judge.ready == HeartbeatProbe(ready_file(tmp_path, "judge"))
    assert judge.env is not None
    assert judge.env["HOMEOSTAT_BROKER"] == "b:1"
    assert judge.env["PATH"] == os.environ["PATH"]
    judge.prepare()
    ready_file(tmp_path, "judge").touch()
    judge.prepare()
    assert not judge.ready()


def test_mlflow_part_tells_its_address(tmp_path: Path) -> None:
    part = mlflow_part(tmp_path, 5_000)
    assert part.url == "http://127.0.0.1:5000"
    assert part.ready == HttpProbe("http://127.0.0.1:5000/health")
