"""The main job, start to end, on an embedded but real stack."""
