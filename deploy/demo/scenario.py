"""What the demo plays with: training sets and worlds, whatever data they come from."""

from dataclasses import dataclass

from deploy.demo.traffic import World
from remediation.training_values import TrainingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Subjects (patients, images) are split first: none is in two worlds, nor in a world and in the training set of
    version 1.

    Attributes:
        title: the data in words; `unit` is the plural of one subject.
        model: name of the model.
        train: what version 1 is trained on.
        faulty: the same subjects as an extract with a real fault; `fault` says which.
        oracle: all subjects but those that come `later`: what the best possible retraining would know.
        healthy: subjects like those of `train`.
        shifted: other ones; `shift` says how they differ.
        later: more of the kind of `shifted`, who come once a retraining is asked for.
    """

    title: str
    model: str
    unit: str
    train: TrainingSet
    faulty: TrainingSet
    fault: str
    oracle: TrainingSet
    healthy: World
    shifted: World
    shift: str
    later: World
