"""From audio to results: the verbs and the steps behind them."""
