"""An attack on the commands: kills, damaged files, odd configs, full disks; `pytest -m attack`.

`plugin` adds the options, collects what each test tried and prints the table; `table` knows its
lines and keeps them in results/attack.json. `server` runs a command in a fork of a process that has
imported everything, `commands` talks to it and judges how a command ended, `jobs` are the commands
that are killed and their results. The tests themselves are one module for each kind of attack.
"""
