"""Methods beside each other over seeds: in this process, in a pool, on a cluster, into a file."""

from .run import compare as compare
