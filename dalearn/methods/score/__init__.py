"""Filters that sample the analysis by a flow in a pseudo-time: of scores, or of matched flows."""
