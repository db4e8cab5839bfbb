"""What brings decided states to models that are served elsewhere, each with what it can prove."""
