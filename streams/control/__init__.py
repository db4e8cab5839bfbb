"""Configuration as events: monitors, references, schemas."""
