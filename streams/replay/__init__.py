"""The same stages over what has been: backtest and replay."""
