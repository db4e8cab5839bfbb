"""The fault campaign: generated illnesses of a simulated model, through the pipeline in process, and its score."""
