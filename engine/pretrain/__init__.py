"""The pretraining: loop, state, step and resume points."""
