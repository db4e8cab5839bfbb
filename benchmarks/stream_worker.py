"""A profile worker that writes down, about once a second, how far it is and what that has cost so far."""

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from streams.app import StreamsConfig, prepare, profile_role
from streams.control.configuration import Configuration
from streams.stages import Stage
from streams.worker.runtime import run_worker


def main() -> None:
    """Arguments: broker, folder, partitions, instance, file of samples."""
    broker, folder, partitions, instance, samples = sys.argv[1:6]
    prepare()
    stages: list[Stage] = []

    def sample() -> None:
        done = sum(stage.offset + 1 for stage in stages)
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        line = {"wall_s": time.time(), "cpu_s": time.process_time(), "records": done, "peak_kb": peak_kb}
        line["rss_kb"] = int(Path("/proc/self/statm").read_text().split()[1]) * 4
        with Path(samples).open("a") as out:
            out.write(json.dumps(line) + "\n")

    config = StreamsConfig(
        broker=broker,
        data_dir=Path(folder),
        partitions=int(partitions),
        checkpoint_interval_s=1.0,
        instance=instance,
        ready_callback=sample,
    )
    role = profile_role(config)

    def remembered(partition: int, configuration: Configuration) -> Stage:
        stages.append(role.stage(partition, configuration))
        return stages[-1]

    run_worker(config, replace(role, stage=remembered))
    sample()


if __name__ == "__main__":
    main()
