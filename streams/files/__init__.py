"""Files as people bring them: monitors, tables of events, labels."""
