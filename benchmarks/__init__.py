"""Ours beside the peer, in one run. `python -m benchmarks` lists what there is."""
