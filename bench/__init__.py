"""Benchmarks of lossyzip against other compressors. Not part of the package; see docs/BENCHMARKS.md."""
