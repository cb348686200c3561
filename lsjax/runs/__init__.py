"""Runs as directories: everything that is written while a run trains, and read back.

`execution` trains runs in their directories, `leases` keeps other processes out, `directory` writes
and checks one, `checkpoints` saves states with Orbax, `loading` gives a run back as a model.
"""
