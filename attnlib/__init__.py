"""attnlib: exact entropy, sparsity and scale of attention, read off F(lambda) = log sum exp(lambda s)."""
