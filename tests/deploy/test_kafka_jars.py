"""Fetching the broker's jars: what a person reads when it fails, and two that fetch at the same time."""

import gc
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.stack import jars
from deploy.stack.errors import DownloadError
from deploy.stack.jars import jar_folder, kafka_jars
from tests.patience import PATIENCE_S


def _assert_plain(error: DownloadError, *words: str) -> None:
    message = str(error)
    for word in (*words, "HOMEOSTAT_BROKER"):
        assert word in message
    assert "\n" not in message
    assert "Traceback" not in message
    assert "Max retries" not in message


def _write_jars(local: Path, repository: str) -> list[Path]:
    local.mkdir()
    for name in ("a.jar", "b.jar"):
        with zipfile.ZipFile(local / name, "w") as archive:
            archive.writestr("entry", repository)
    return [local / "a.jar", local / "b.jar"]


def test_refused_connection_is_told_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as failure:
        kafka_jars(tmp_path, "http://127.0.0.1:9/maven2")
    _assert_plain(failure.value, "127.0.0.1:9", "the connection was refused", "HTTPS_PROXY")
    assert list(tmp_path.iterdir()) == []


def test_proxy_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    with pytest.raises(DownloadError) as failure:
        kafka_jars(tmp_path)
    _assert_plain(
        failure.value, urlsplit(jars.maven_central()).netloc, "the proxy that the environment names"
    )


def test_name_that_does_not_resolve_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DownloadError) as failure:
        kafka_jars(tmp_path, "http://maven.invalid/maven2")
    _assert_plain(failure.value, "maven.invalid", "its name cannot be resolved")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_repository_without_the_files_is_told(tmp_path: Path) -> None:
    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Empty) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with pytest.raises(DownloadError) as failure:
                kafka_jars(tmp_path, f"http://127.0.0.1:{server.server_port}/maven2")
        finally:
            server.shutdown()
            serving.join()
    _assert_plain(failure.value, "does not hold all the files")
    # The resolver leaves the refused answer's socket to the collector, which would complain in another test.
    del failure
    gc.collect()


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError) as failure:
        kafka_jars(tmp_path / "file" / "cache")
    _assert_plain(failure.value, "could not be kept in", "HOMEOSTAT_CACHE")


def test_damaged_jar_is_never_kept(tmp_path: Path) -> None:
    damaged = tmp_path / "kafka.jar"
    damaged.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DownloadError) as failure:
        jars._check_whole(damaged, "https://repo.example/maven2")
    _assert_plain(failure.value, "repo.example", "kafka.jar arrived damaged")


def test_two_that_fetch_at_once_end_with_one_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_downloaded = threading.Barrier(2, timeout=PATIENCE_S)

    def download(local: Path, repository: str) -> list[Path]:
        made = _write_jars(local, repository)
        both_downloaded.wait()
        return made

    monkeypatch.setattr(jars, "_download", download)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: kafka_jars(tmp_path), range(2))
    assert first == second
    assert [jar.name for jar in first] == ["a.jar", "b.jar"]
    assert list(tmp_path.iterdir()) == [jar_folder(tmp_path)]


def test_filled_cache_needs_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_download", _write_jars)
    filled = kafka_jars(tmp_path)
    monkeypatch.undo()
    assert kafka_jars(tmp_path, "http://127.0.0.1:9/maven2") == filled
