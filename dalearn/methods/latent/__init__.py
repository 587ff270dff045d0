"""Methods in a latent space: any other method on the codes of states."""
