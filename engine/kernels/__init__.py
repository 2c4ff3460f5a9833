"""Kernels in Triton for a CUDA card, of what stands between two convolutions; what calls them.

``group_block`` offers them as operations of torch, with gradients. A CPU computes the same with
torch's own operations (``written_block``), for tests and where triton is not installed: it comes
with torch's builds for CUDA and is no dependency. Only ``triton_norm``, ``triton_pool`` and
``launches`` import it. None of it is imported before a step wants it.
"""
