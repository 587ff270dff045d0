"""Inversion: methods that seek what a run starts from, states or parameters, from all its data."""
