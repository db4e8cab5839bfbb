"""Gate, profile and judge, the archive, the record, checkpoints: everything that speaks to Kafka on the server side."""
