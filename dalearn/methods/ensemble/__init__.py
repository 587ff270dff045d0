"""Ensemble filters and smoothers."""
