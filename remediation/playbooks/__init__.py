"""Playbooks: what is done about which incident, step by step."""
