"""What is looked at before anything starts: files that a process would refuse a minute later, one after another."""

from collections.abc import Callable

from deploy import actuation, pieces, telling
from deploy.errors import UserError
from deploy.settings import Settings


def refuse_wrong_files(settings: Settings) -> None:
    """Nothing, where every file that the settings name can be read and has what it needs. Raises `UserError` that tells
    what is wrong with each of them."""
    # What is not set is not imported either: `up` is to begin at once.
    checks: list[tuple[object, Callable[[Settings], object]]] = [
        (settings.policy, telling.check),
        (settings.playbooks, pieces.playbooks),
        (settings.actuators, actuation.reaches),
        (settings.ingest_file, pieces.ingest_map),
    ]
    problems: list[str] = []
    for named, check in checks:
        if named is None:
            continue
        try:
            check(settings)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
