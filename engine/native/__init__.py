"""Kernels in C for a CPU: optional, built at installation where there is a compiler."""
