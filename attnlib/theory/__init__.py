"""Closed forms of the models behind the articles: numbers or tensors in, float64 tensors out, nats.

One module a model: keys on a sphere, a matching key among random ones (needle), the frozen phase of Gaussian
scores, Gaussian keys under three activations, bounded scores, noise on scores, and exponential decay. They
need PyTorch alone: no SciPy, no SymPy, no NumPy.
"""

from attnlib.theory import bounded, decay, freezing, gaussian, needle, noise, sphere

__all__ = ["bounded", "decay", "freezing", "gaussian", "needle", "noise", "sphere"]
