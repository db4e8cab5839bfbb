"""MLflow's tracking server in one process: `python -m deploy.stack.mlflow_server --folder DIR --port N`.

`mlflow server` keeps its command-line process beside the server's own, each with all of MLflow loaded: two
times 265 MB and two imports of six seconds, measured with 3.17. This does what that command does before it
starts its second process (settings, tables), and then serves. The job runner (evaluation jobs of language
models) stays off.
"""

import argparse
import os
import uuid
from pathlib import Path

APPLICATION = "mlflow.server.fastapi_app:app"
_PROXIED_ARTIFACTS = "mlflow-artifacts:/"

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_WORKSPACES": "false",
    "_MLFLOW_SGI_NAME": "uvicorn",
    "_MLFLOW_IN_JOB_EXECUTOR": "false",
}


def server_environment(folder: Path) -> dict[str, str]:
    """What the server reads: runs and models in SQLite, artifacts in files, both in `folder`."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    return SETTINGS | {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": _PROXIED_ARTIFACTS,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
    }


def main() -> None:
    """Create the tables where they are missing, then serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="MLflow's tracking server in one process.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(server_environment(folder))

    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    store = os.environ["_MLFLOW_SERVER_FILE_STORE"]
    initialize_backend_stores(store, store, _PROXIED_ARTIFACTS)
    uvicorn.run(APPLICATION, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
