"""Networks that do the analysis itself: learned inversions, first guesses, priors and solvers."""
