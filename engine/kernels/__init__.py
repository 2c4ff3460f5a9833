"""Kernels in Triton for a CUDA card, of what stands between two convolutions and of the views.

``group_block`` offers them as operations of torch, with gradients. A CPU computes the same with
torch's own operations (``written_block``), for tests and where triton is not installed: it comes
with torch's builds for CUDA and is no dependency. Only ``triton_norm``, ``triton_pool``,
``triton_views``, ``launches`` and ``view_launches`` import it, and none of these is imported before
a step wants it. ``engine.augment.kernel_augmenter`` offers the kernel of the views.
"""
