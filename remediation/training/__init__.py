"""Training: validated rows in, several candidates, the best by cross-validated F1 out, as ONNX with its
reference."""

from remediation.training.trainer import SklearnTrainer
from remediation.training.validation import TrainingError

__all__ = ["SklearnTrainer", "TrainingError"]
