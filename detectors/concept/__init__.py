"""Concept drift: whether what a model gets wrong has changed, from outcomes as their labels arrive."""
