"""What talks to Kafka for every role: topics, consumer groups, reading a log from its start."""
