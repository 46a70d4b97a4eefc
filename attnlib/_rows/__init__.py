"""The engine behind :mod:`attnlib.rows`: from checked arguments to the sums over every row.

========== =====================================================================================
layout     arguments as tensors (q, k, v) and geometry (who sees whom, at what scale)
dense      statistics of logits that are written out: the oracle
blockwise  the same, a bounded block of rows at a time
products   matrix products whose gradients autocast leaves alone
one_pass   what the three passes that find all statistics at once share
tiles      sums over tiles of logits that fit a core's cache: what ``impl='fused'`` runs on a CPU
kernels    PyTorch's attention operators behind one signature, and the CPU's
cuda       what ``impl='fused'`` runs on CUDA
by_triton  what ``impl='triton'`` runs, with kernels of its own for CUDA
compiled   what ``impl='compiled'`` runs, with kernels of its own for CPUs
building   these, built by the user's own C++ compiler
engine     which of these answers a call
========== =====================================================================================
"""
