"""The parts models are built from. `transformer` is the trunk; the other modules are its choices."""
