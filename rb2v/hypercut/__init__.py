"""Learning: the HyperCUT order network, trained on shards."""
