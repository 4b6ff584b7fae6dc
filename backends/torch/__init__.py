"""Eager PyTorch: real parameters, autograd, any device. Also the reference for every other
backend."""
