"""Models that learn by counting, a closed form or a hand-written kernel, without a training loop."""
