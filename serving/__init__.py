"""What answers over HTTP: the inference server, the REST API, the console; and the model registry behind them."""
