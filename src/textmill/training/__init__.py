"""Learning by gradient: the trainer, optimiser groups, schedules, precision, checkpoints, hooks."""
