"""Which parts the local stack has: what is embedded, what is used where it already runs, and who needs whom."""

from dataclasses import dataclass

from deploy.settings import Settings
from deploy.stack.bytecode import kept_compiled
from deploy.stack.kafka import KafkaBroker, KafkaConfig
from deploy.stack.part import Part
from deploy.stack.parts import kafka_part, mlflow_part, part_name, worker_part
from deploy.stack.ports import PortBook

STREAM_ROLES = ("gate", "profile", "judge", "archive", "record")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the shared services are, as every part is told by its environment."""

    broker: str
    mlflow: str
    api_port: int
    serving_port: int

    def environment(self, settings: Settings) -> dict[str, str]:
        """What a worker reads; the rest it inherits."""
        return {
            "HOMEOSTAT_HOME": str(settings.home),
            "HOMEOSTAT_BROKER": self.broker,
            "HOMEOSTAT_DATABASE_URL": settings.database,
            "MLFLOW_TRACKING_URI": self.mlflow,
            "HOMEOSTAT_API_PORT": str(self.api_port),
            "HOMEOSTAT_SERVING_PORT": str(self.serving_port),
            "HOMEOSTAT_SEGMENTS": settings.segments or str(settings.home / "segments"),
        }


def stack_parts(settings: Settings) -> list[Part]:
    """The parts to supervise in `settings.home`. A broker, registry or database that the settings name is not embedded.

    Raises `PortTaken` where a port that the user has fixed is in use, `DownloadError` where the broker's jars cannot
    be fetched.
    """
    home = settings.home
    book = PortBook(home / "ports.json")
    parts: list[Part] = []
    compiled = kept_compiled(settings.cache)

    broker = settings.broker
    if broker is None:
        kafka = KafkaBroker(KafkaConfig(folder=home / "kafka", cache=settings.cache))
        parts.append(kafka_part(home, kafka))
        broker = kafka.bootstrap

    mlflow = settings.mlflow_tracking_uri
    if mlflow is None:
        registry = mlflow_part(home, book.choose("mlflow"), compiled)
        parts.append(registry)
        mlflow = registry.url or ""

    addresses = Addresses(
        broker=broker,
        mlflow=mlflow,
        api_port=book.choose("api", settings.api_port, "HOMEOSTAT_API_PORT"),
        serving_port=book.choose("serving", settings.serving_port, "HOMEOSTAT_SERVING_PORT"),
    )
    environment = addresses.environment(settings) | compiled
    embedded = [part.name for part in parts]
    needs_broker = [name for name in embedded if name == "kafka"]
    for role in STREAM_ROLES:
        for instance in range(settings.profile_workers if role == "profile" else 1):
            part = worker_part(
                role,
                home,
                environment,
                instance=str(instance),
                metrics_port=book.choose(f"{part_name(role, str(instance))}-metrics"),
                depends_on=needs_broker,
            )
            parts.append(part)
    parts.append(worker_part("serving", home, environment, port=addresses.serving_port, depends_on=embedded))
    parts.append(worker_part("agent", home, environment, depends_on=embedded))
    parts.append(worker_part("api", home, environment, port=addresses.api_port, depends_on=needs_broker))
    return parts
