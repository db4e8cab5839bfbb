"""NannyML's CBPE on one log, run by the Python of an environment of its own: `PYTHON estimation_peer.py FILE`.

FILE is an .npz with scores, said and labels, the rows of the reference and of a chunk. On stdout: one JSON object, the
estimates of each measure by chunk.
"""

import json
import os
import sys
import time

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml
import numpy as np
import pandas as pd

MEASURES = {
    "roc_auc": "auc",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
}


def main() -> None:
    """Read, estimate, print."""
    with np.load(sys.argv[1]) as file:
        frame = pd.DataFrame({name: file[name] for name in ("scores", "said", "labels")})
        reference, chunk = int(file["reference"]), int(file["chunk"])
    started = time.process_time()
    estimator = nannyml.CBPE(
        metrics=list(MEASURES),
        y_pred_proba="scores",
        y_pred="said",
        y_true="labels",
        problem_type="classification_binary",
        chunk_size=chunk,
    )
    estimator.fit(frame.iloc[:reference].reset_index(drop=True))
    rest = len(frame) - reference
    last = len(frame) - rest % chunk
    found = estimator.estimate(frame.iloc[reference:last].reset_index(drop=True).drop(columns="labels"))
    table = found.filter(period="analysis").to_df()
    estimates = {ours: [float(v) for v in table[(theirs, "value")]] for theirs, ours in MEASURES.items()}
    print(json.dumps({"cpu_s": time.process_time() - started, "estimates": estimates}))


if __name__ == "__main__":
    main()
