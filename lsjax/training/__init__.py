"""Training: from a config to steps on devices, without any file.

Data flows one way: `setup` (config and data) -> `inputs` (arrays on devices) -> `loop`, which
calls the compiled `programs` of the pure `step`. `devices` alone knows how programs are spread
over devices, `distributed` alone how several processes become one job.
"""
