"""lsjax: label smoothing, loss correction and distillation under label noise, in JAX."""

__version__ = "0.1.0"
