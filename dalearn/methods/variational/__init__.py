"""Variational methods: costs, windows, and the solvers that minimise them."""
