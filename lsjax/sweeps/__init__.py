"""Sweeps: named cells, each trained with several seeds, as packs of one compiled program.

`cells` lists cells for config files, `plan` turns them into runs, `shards` divides these between
processes, `execution` trains them, `estimate` says what a sweep would do and how long it takes.
"""
