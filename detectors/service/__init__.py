"""How the service behaves that the model runs in: latencies and failed requests."""
