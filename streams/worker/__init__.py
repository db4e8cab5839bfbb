"""How the stages are driven: group membership, checkpoints, telemetry."""
