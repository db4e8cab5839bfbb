"""A command of a playbook: run once, without a shell, with a deadline, in a container where one is configured."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import structlog

from remediation.errors import StepFailed
from remediation.ports import Clock
from serving.actuators.values import Commands
from serving.calls.records import Record, Records

log = structlog.get_logger()

_KEPT_BYTES, _KEPT_LINES = 8_192, 5
_KEY_VARIABLE = "HOMEOSTAT_IDEMPOTENCY_KEY"
_ENDING_S = 5.0
_CANCELLED = "it was ended before it was finished"
Argument = Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]


class CommandParameters(msgspec.Struct, frozen=True, kw_only=True):
    """`argv`: the program and its arguments, from the playbook. `timeout_s`: how long it may run."""

    argv: Annotated[tuple[Argument, ...], msgspec.Meta(min_length=1)]
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Command:
    """Runs a command at most once per key. The record of a key is on disk before the command starts; one that was begun
    and never completed is told, and never run again: nobody knows how far it came."""

    def __init__(self, commands: Commands | None, records: Records, clock: Clock) -> None:
        self._commands = commands
        self._records = records
        self._clock = clock

    async def call(self, parameters: Mapping[str, Any], *, key: str) -> str:
        """The last lines of the output. Raises `StepFailed` for every failure: what has run is not run again."""
        told = _read(parameters)
        if self._commands is None:
            raise StepFailed(
                "commands are not run here: HOMEOSTAT_ACTUATORS names no file with a section `commands`"
            )
        if not await asyncio.to_thread(self._records.begin, key, now_us=self._clock.now_us()):
            return _outcome_of(await asyncio.to_thread(self._records.find, key))
        record = await self._run(self._commands, told, key)
        return _outcome_of(record)

    async def observe(self, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """The outcome of a command that has run. Raises `StepFailed` where it failed, or where nobody knows."""
        del parameters
        found = await asyncio.to_thread(self._records.find, key)
        return None if found is None else _outcome_of(found)

    async def _run(self, commands: Commands, told: CommandParameters, key: str) -> Record:
        timeout_s = told.timeout_s or commands.timeout_s
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *commands.prefix,
                *told.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=_environment(commands.environment, key),
                start_new_session=True,
            )
        )
        try:
            # Whoever is cancelled meanwhile still ends what has begun to run.
            await asyncio.wait([starting])
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, ValueError):
                await _end(await starting)
            self._records.complete(key, "failed", _CANCELLED, now_us=self._clock.now_us())
            raise
        try:
            process = starting.result()
        except (OSError, ValueError) as error:
            return await self._complete(key, "failed", f"it could not be started: {error}")
        assert process.stdout is not None
        tail = _Tail()
        try:
            async with asyncio.timeout(timeout_s):
                await tail.read(process.stdout)
                status = await process.wait()
        except TimeoutError:
            await _end(process)
            return await self._complete(
                key, "failed", f"it ran for over {timeout_s:g} s and was ended{tail.told}"
            )
        except asyncio.CancelledError:
            await _end(process)
            self._records.complete(key, "failed", f"{_CANCELLED}{tail.told}", now_us=self._clock.now_us())
            raise
        if status != 0:
            return await self._complete(key, "failed", f"exit status {status}{tail.told}")
        return await self._complete(key, "done", f"exit status 0{tail.told}")

    async def _complete(self, key: str, state: Any, outcome: str) -> Record:
        record = await asyncio.to_thread(
            self._records.complete, key, state, outcome, now_us=self._clock.now_us()
        )
        log.info("A command of a playbook has ended.", key=key, state=state)
        return record


class _Tail:
    """The end of an output, however long it is."""

    def __init__(self) -> None:
        self._kept = b""

    async def read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(65_536):
            self._kept = (self._kept + chunk)[-_KEPT_BYTES:]

    @property
    def told(self) -> str:
        lines = [line for line in self._kept.decode(errors="replace").splitlines() if line.strip()]
        return ": " + " | ".join(lines[-_KEPT_LINES:]) if lines else ""


def _outcome_of(record: Record | None) -> str:
    if record is None or record.state == "begun":
        raise StepFailed(
            "unknown whether it ran: an earlier attempt was begun and its end was never recorded; it is not run again"
        )
    if record.state == "failed":
        raise StepFailed(record.outcome)
    return record.outcome


def _environment(allowed: Sequence[str], key: str) -> dict[str, str]:
    known = {name: os.environ[name] for name in allowed if name in os.environ}
    return {**known, _KEY_VARIABLE: key}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process and its children to end, and make them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_S):
                await process.wait()
                return


def _read(parameters: Mapping[str, Any]) -> CommandParameters:
    try:
        return msgspec.convert(dict(parameters), CommandParameters)
    except msgspec.ValidationError as error:
        raise StepFailed(f"the parameters of the command: {error}") from error
