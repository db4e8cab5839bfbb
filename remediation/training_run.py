"""One retraining between its approval and its registered version.

What is collected and trained lives in memory only: nothing outside has changed yet, so a new agent simply
begins again. The registered version carries the action's id as a tag, and is found by it.
"""

import msgspec
import pandas as pd
import structlog

from remediation.config import RetrainingConfig
from remediation.demands import Demand
from remediation.errors import NotYet, StepFailed
from remediation.gating import Gate, gate
from remediation.identity import action_id
from remediation.ports import Archive, Clock, Registry, Scorer, Trainer
from remediation.retraining import Split, split
from remediation.training_values import TrainedModel
from remediation.values import Action, ModelVersion, Plan

log = structlog.get_logger()

ACTION_TAG = "homeostat.action"
INCIDENT_TAG = "homeostat.incident"


class RetrainParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The approved parameters of a retraining: events of [`since_us`, `until_us`) are the new world as the
    approver was shown it. `accept`: what is known to be wrong and may be learned from all the same. `demand`: what the
    candidate has to be better by; of a plan that says none it was promised that no balanced accuracy is lost."""

    since_us: int
    until_us: int
    with_past: bool
    seed: int
    accept: tuple[str, ...] = ()
    demand: Demand = Demand(not_worse={"balanced_accuracy": 0.0})


class TrainingRun:
    """Collect, train, gate, register: called in this order, each but `train` in a thread."""

    def __init__(
        self,
        registry: Registry,
        archive: Archive,
        trainer: Trainer,
        scorer: Scorer,
        clock: Clock,
        config: RetrainingConfig,
    ) -> None:
        self._registry = registry
        self._archive = archive
        self._trainer = trainer
        self._scorer = scorer
        self._clock = clock
        self._config = config
        self._split: Split | None = None
        self._trained: TrainedModel | None = None
        self._gate: Gate | None = None

    def holds(self, step: str) -> bool:
        """Everything that `step` needs is in memory."""
        needs = {"train": self._split, "gate": self._trained, "register": self._gate}
        return step == "collect" or needs[step] is not None

    def collect(self, plan: Plan) -> str:
        """Read and split the archive: up to the plan, or, where that is too little, what has come since. What
        is dated later than now is left out. Raises `NotYet` while labels are too few."""
        wanted = parameters(plan)
        champion = self._registry.version(plan.model, plan.from_version)
        if champion is None:
            raise StepFailed(f"version {plan.from_version} of {plan.model} is not in the registry any more")
        history_s = self._config.history_s
        since_us = None if history_s is None else wanted.since_us - round(history_s * 1e6)
        # The archive keeps what came, also rows that a wrong clock dates into the future.
        now_us = self._clock.now_us()
        events = self._archive.labelled(plan.model, since_us=since_us, until_us=now_us, known_until_us=now_us)
        try:
            self._split = self._of(events.loc[events["time_us"] < wanted.until_us], champion, wanted)
        except NotYet:
            self._split = self._of(events, champion, wanted)
        return self._split.told

    def _of(self, events: pd.DataFrame, champion: ModelVersion, wanted: RetrainParameters) -> Split:
        return split(
            champion.model,
            events,
            champion.features,
            since_us=wanted.since_us,
            with_past=wanted.with_past,
            seed=wanted.seed,
            config=self._config,
        )

    async def train(self, plan: Plan) -> str:
        """Train the candidates; cancelled, it breaks the training off."""
        if self._split is None:
            raise StepFailed("train: nothing was collected")
        self._trained = await self._trainer.train(self._split.training, seed=parameters(plan).seed)
        tried = ", ".join(f"{name} {value:.3f}" for name, value in self._trained.candidates.items())
        return f"{self._trained.algorithm} is the best by F1 ({tried}), {self._trained.rows:,} lines"

    def gate(self, plan: Plan) -> str:
        """Compare with the champion. Raises `StepFailed` when it is not beaten."""
        if self._split is None or self._trained is None:
            raise StepFailed("gate: nothing was trained")
        champion = self._registry.onnx(plan.model, plan.from_version)
        wanted = parameters(plan).demand
        found = gate(self._trained.onnx, champion, self._split.holdout, self._scorer, wanted)
        if not found.passed:
            raise StepFailed(f"gate: {found.told}")
        self._gate = found
        return found.told

    def register(self, plan: Plan) -> ModelVersion:
        """Register what passed the gate; the same bytes are not registered twice."""
        if self._trained is None or self._gate is None:
            raise StepFailed("register: nothing passed the gate")
        same = [each for each in self._registry.versions(plan.model) if each.digest == self._trained.digest]
        if same:
            return same[-1]
        tags = {
            ACTION_TAG: action_id(plan),
            INCIDENT_TAG: plan.incident_id,
            "homeostat.gate": self._gate.told,
            "homeostat.replaces": plan.from_version,
        }
        return self._registry.register(self._trained, tags=tags)


class TrainingRuns:
    """The runs that this agent has in memory."""

    def __init__(
        self,
        registry: Registry,
        archive: Archive,
        trainer: Trainer,
        scorer: Scorer,
        clock: Clock,
        config: RetrainingConfig,
    ) -> None:
        self._registry = registry
        self._parts = (registry, archive, trainer, scorer, clock, config)
        self._runs: dict[str, TrainingRun] = {}

    def of(self, action: Action) -> TrainingRun:
        """The run of an action, a new one if this agent has none."""
        return self._runs.setdefault(action.id, TrainingRun(*self._parts))

    def forget(self, action_id: str) -> None:
        """Free the memory of a run."""
        self._runs.pop(action_id, None)

    def registered(self, action: Action, plan: Plan) -> ModelVersion | None:
        """The version that this action registered before, if it did."""
        if not any(step.name == "register" for step in action.steps):
            return None
        versions = self._registry.versions(plan.model)
        return next((each for each in versions if each.tags.get(ACTION_TAG) == action.id), None)


def parameters(plan: Plan) -> RetrainParameters:
    """What was approved. Raises `StepFailed` where the plan is not one of a retraining."""
    try:
        return msgspec.convert(plan.parameters, RetrainParameters)
    except msgspec.ValidationError as error:
        raise StepFailed(
            f"plan {plan.id}: parameters {plan.parameters} are not those of a retraining: {error}"
        ) from error
