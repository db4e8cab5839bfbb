"""The client in the ways a host starts processes: gunicorn with a preloaded app, fork before the first event, spawn."""

import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.sdk.test_sdk_kafka import create_topic, read_topic

pytestmark = pytest.mark.slow

APP = """
    import os
    import homeostat

    homeostat.init(os.environ["BROKER"], topic=os.environ["TOPIC"], exit_timeout_s=20)
    homeostat.log("m", version="1", id="preload", features={"x": 1.0}, prediction=1)

    def app(environ, start_response):
        homeostat.log("m", version="1", id=environ["PATH_INFO"], features={"x": 1.0}, prediction=1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


def test_gunicorn_with_a_preloaded_app_loses_nothing(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    create_topic(kafka, topic_prefix)
    (tmp_path / "hosted.py").write_text(textwrap.dedent(APP))
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:0", "hosted:app"]
    environment = {**os.environ, "BROKER": kafka, "TOPIC": topic_prefix}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        url = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+", line)))
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
            workers = {
                http.get(f"/{i}", timeout=PATIENCE_S, headers={"Connection": "close"}).text for i in range(60)
            }
        server.terminate()
        _, errors = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0
    assert "Traceback" not in errors
    assert "are lost" not in errors
    records = read_topic(kafka, topic_prefix)
    ids = Counter(id for record in records for id in record.batch.ids)
    assert ids == Counter(["preload", *(f"/{i}" for i in range(60))])
    # One producer for each process: the parent's, and that of each worker which was asked.
    assert len({record.batch.producer for record in records}) == 1 + len(workers)


ASGI = """
    import os
    import homeostat
    from fastapi import FastAPI
    from homeostat.middleware import HomeostatMiddleware, Route

    # Nothing goes out by itself before the server is stopped.
    homeostat.init(os.environ["BROKER"], topic=os.environ["TOPIC"], linger_s=60, exit_timeout_s=60)
    app = FastAPI()
    app.add_middleware(HomeostatMiddleware, routes={"/predict": Route(model="m", version="1")})

    @app.post("/predict")
    def predict(body: dict) -> dict:
        return {"prediction": 1}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="ends by a signal")
def test_uvicorn_that_ends_by_a_signal_loses_nothing(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    create_topic(kafka, topic_prefix)
    (tmp_path / "hosted.py").write_text(textwrap.dedent(ASGI))
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "hosted:app"]
    environment = {**os.environ, "BROKER": kafka, "TOPIC": topic_prefix}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        url = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+", line)))
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
            for i in range(10):
                http.post("/predict", json={"id": str(i), "features": {"x": 1.0}}, timeout=PATIENCE_S)
        server.terminate()
        _, errors = server.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in errors
    ids = Counter(id for record in read_topic(kafka, topic_prefix) for id in record.batch.ids)
    assert ids == Counter(map(str, range(10)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_before_the_first_event_and_a_spawned_child(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    create_topic(kafka, topic_prefix)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, os, sys, warnings
            warnings.simplefilter("ignore")
            import homeostat

            def log(who):
                for i in range(300):
                    homeostat.log("m", version="1", id=f"{who}-{i}", features={"x": 1.0, "c": "a"}, prediction=1)

            def spawned(broker, topic):
                homeostat.init(broker, topic=topic)
                log("spawned")
                assert homeostat.flush(100)     # multiprocessing ends its children without exit handlers

            if __name__ == "__main__":
                homeostat.init(sys.argv[1], topic=sys.argv[2], exit_timeout_s=100)
                child = os.fork()
                if child == 0:
                    log("forked")
                    sys.exit(0)
                process = multiprocessing.get_context("spawn").Process(target=spawned, args=sys.argv[1:])
                process.start()
                log("parent")
                process.join()
                assert process.exitcode == 0
                assert os.waitpid(child, 0)[1] == 0
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script), kafka, topic_prefix],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ids = Counter(id for record in read_topic(kafka, topic_prefix) for id in record.batch.ids)
    assert ids == Counter(f"{who}-{i}" for who in ("forked", "spawned", "parent") for i in range(300))
