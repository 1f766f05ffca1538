"""The search for the weights of a mix: proxies trained on sampled mixtures, a regression over them, and its optimum under caps."""
