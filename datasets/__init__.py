"""Data made on the spot: a turbulent flow for the demo, small fields for the tests. Imports no lossyzip."""
