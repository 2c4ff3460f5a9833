"""The parts of ``throughput.py``: what is measured, beside whom, and the arithmetic on it."""
