"""Where fields live: HDF5 files and the atomic replacement of files."""
