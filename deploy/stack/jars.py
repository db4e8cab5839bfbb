"""Apache Kafka's jars: fetched once from a Maven repository into the user's cache, then read from there.

A finished folder appears by one rename, so two processes that fetch at the same time cannot disturb each
other (the second finds the first one's folder and drops its own), and a fetch that was cut off leaves nothing
that looks complete.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from deploy.stack.errors import DownloadError

KAFKA_VERSION = "4.1.1"
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:2.0.17")
"""The broker, and a logger that writes to standard error (the part's log file)."""

TIMEOUT_S = 30
_DOWNLOADS_AT_ONCE = 8
"""The jars are 48 files of .01-15 MB: one by one, waiting for answers costs more than the bytes."""


def maven_central() -> str:
    """The base URL of Maven's own repository, as jgo knows it; jgo is imported late, it takes a third of a second."""
    from jgo.constants import MAVEN_CENTRAL_URL

    return MAVEN_CENTRAL_URL.rstrip("/")


def kafka_jars(cache: Path | None = None, repository: str | None = None) -> list[Path]:
    """The broker's class path, fetched first if this cache has never held it.

    `cache` is the folder for everything that can be fetched again (default: the user's cache folder);
    `repository` is the base URL of a Maven 2 repository (default: Maven's own). Raises `DownloadError`. With a
    filled cache no network is used.
    """
    folder = jar_folder(cache)
    if not folder.is_dir():
        _fetch_into(folder, repository or maven_central())
    return sorted(folder.glob("*.jar"))


def jar_folder(cache: Path | None = None) -> Path:
    """Where the jars of exactly these coordinates lie; the folder exists only when it is complete."""
    digest = hashlib.sha256("+".join(COORDINATES).encode()).hexdigest()[:8]
    return (cache or user_cache_path("homeostat")) / f"kafka-{KAFKA_VERSION}-{digest}"


def _fetch_into(folder: Path, repository: str) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=".fetching-", ignore_cleanup_errors=True
        ) as name:
            staging = Path(name)
            finished = staging / "jars"
            finished.mkdir()
            for jar in _download(staging / "repository", repository):
                os.replace(jar, finished / jar.name)
            _publish(finished, folder)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"Apache Kafka's jars could not be kept in {folder.parent}: {error.strerror or error}. Make the "
            "folder writable (about 100 MB are needed), or set HOMEOSTAT_CACHE to one that is, or set "
            "HOMEOSTAT_BROKER to the address of an existing Kafka."
        ) from error


def _publish(finished: Path, folder: Path) -> None:
    try:
        os.rename(finished, folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(finished)


def _download(local: Path, repository: str) -> list[Path]:
    """Resolve and download into the Maven-shaped folder `local`; every jar is checked to be whole."""
    import requests
    from jgo.maven import MavenContext

    try:
        context = MavenContext(
            repo_cache=local, local_repos=[], remote_repos={"given": repository}, timeout=TIMEOUT_S
        )
        wanted = [context.create_dependency(coordinate) for coordinate in COORDINATES]
        roots, transitive = context.resolver.resolve(wanted)
        artifacts = [dependency.artifact for dependency in (*roots, *transitive)]
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            jars = list(pool.map(lambda artifact: artifact.resolve(), artifacts))
        for jar in jars:
            _check_whole(jar, repository)
        return jars
    except requests.RequestException as error:
        raise _unreachable(repository, _plain_reason(error)) from error
    except RuntimeError as error:
        raise _unreachable(repository, "it answered, but does not hold all the files") from error


def _check_whole(jar: Path, repository: str) -> None:
    try:
        with zipfile.ZipFile(jar) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile:
        damaged = jar.name
    if damaged is not None:
        raise _unreachable(
            repository, f"{jar.name} arrived damaged (cut off, or changed by something in between)"
        )


def _unreachable(repository: str, reason: str) -> DownloadError:
    host = urlsplit(repository).netloc or repository
    return DownloadError(
        f"Apache Kafka {KAFKA_VERSION} is needed once (45 MB) and could not be fetched from {host}: "
        f"{reason}. Connect this machine to the network (behind a proxy, set HTTPS_PROXY) and try again, or "
        "set HOMEOSTAT_BROKER to the address of an existing Kafka. After the first time no network is needed."
    )


def _plain_reason(error: Exception) -> str:
    """One plain sentence part for the layers of a network error."""
    import requests

    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that the environment names (HTTPS_PROXY) does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            "its certificate is not trusted here (set REQUESTS_CA_BUNDLE to your organisation's certificates)"
        )
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {TIMEOUT_S} s"
    if "resolve" in text or "getaddrinfo" in text or "Name or service" in text:
        return "its name cannot be resolved"
    if "refused" in text:
        return "the connection was refused"
    return "it cannot be reached"
