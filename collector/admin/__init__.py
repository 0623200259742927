"""The operator's endpoints, and the status behind them."""
