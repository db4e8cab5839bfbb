"""MLflow's own scoring server: what it was asked until it ended is on the topic."""

import os
import subprocess
import sys
import textwrap
import warnings
from collections import Counter
from pathlib import Path

import httpx
import pytest

from deploy.stack.ports import pick_free_port
from tests.patience import patient_s
from tests.sdk.test_sdk_kafka import create_topic, read_topic

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow, about its own type hints
    import mlflow

    from homeostat.mlflow import LoggingModel

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="ends with its parent")]

ADDS = """
    import mlflow
    from mlflow.pyfunc import PythonModel

    class Adds(PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input[["x", "y"]].sum(axis=1).to_numpy()

    mlflow.models.set_model(Adds())
"""

HOST = """
    import os
    import socket
    import threading
    import time
    import homeostat

    look_up = socket.getaddrinfo

    def held_back(*given, **named):
        if threading.current_thread().name == "homeostat-sdk":
            while not os.path.exists(os.environ["STOPPED"]):
                time.sleep(0.05)
            time.sleep(3)
        return look_up(*given, **named)

    # There is no connection to the broker before the server is stopped.
    socket.getaddrinfo = held_back
    homeostat.init(os.environ["BROKER"], topic=os.environ["TOPIC"], exit_timeout_s=60)
"""


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "adds.py").write_text(textwrap.dedent(ADDS))
    (folder / "sitecustomize.py").write_text(textwrap.dedent(HOST))
    inner, packaged = folder / "adds", folder / "packaged"
    mlflow.pyfunc.save_model(str(inner), python_model=str(folder / "adds.py"), pip_requirements=["mlflow"])
    mlflow.pyfunc.save_model(
        str(packaged),
        python_model=LoggingModel(model="m", version="1", id_column="id"),
        artifacts={"model": str(inner)},
        pip_requirements=["mlflow"],
    )
    return packaged


def test_a_server_that_is_stopped_loses_nothing_and_keeps_the_settings_of_its_host(
    packaged: Path, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    create_topic(kafka, topic_prefix)
    url = f"http://127.0.0.1:{pick_free_port()}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(packaged)]
    command += ["--env-manager", "local", "--port", url.rpartition(":")[2]]
    stopped = tmp_path / "stopped"
    environment = os.environ | {
        "BROKER": kafka.replace("127.0.0.1", "localhost"),
        "TOPIC": topic_prefix,
        "STOPPED": str(stopped),
    }
    environment |= {
        "PYTHONPATH": str(packaged.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            told = ""
            while "Application startup complete" not in told:
                line = server.stderr.readline()
                assert line, told
                told += line
            with httpx.Client(base_url=url, timeout=patient_s(30)) as http:
                for i in range(5):
                    rows = {"dataframe_records": [{"id": f"r-{i}", "x": 1.0, "y": 2.0}]}
                    answer = http.post("/invocations", json=rows, headers={"Connection": "close"})
                    assert answer.status_code == 200, answer.text
        finally:
            # The scoring server ends with its parent, and holds the pipe: that ends when it has.
            stopped.touch()
            server.terminate()
        told += server.communicate(timeout=patient_s(60))[1]
    assert "are lost" not in told
    records = read_topic(kafka, topic_prefix)
    assert Counter(id for record in records for id in record.batch.ids) == Counter(f"r-{i}" for i in range(5))
