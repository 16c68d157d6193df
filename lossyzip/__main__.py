"""``python -m lossyzip``: the command line."""

from lossyzip.cli import main

main()
