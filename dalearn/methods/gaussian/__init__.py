"""Methods that carry a mean and a covariance."""
