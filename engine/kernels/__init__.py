"""Kernels in Triton for a CUDA card, beside those of the convolutions; what calls them.

``group_block`` (between two convolutions) and ``contrast_block`` (the loss and what stands around
it) offer them as operations of torch, with gradients. A CPU computes the same with torch's own
operations (``written_block``, ``written_contrast``), for tests and where triton is not installed:
it comes with torch's builds for CUDA and is no dependency. Only ``triton_*`` and ``*launches``
import it. None of these is imported before a step wants it. ``engine.augment.kernel_augmenter``
offers the kernel of the views.
"""
