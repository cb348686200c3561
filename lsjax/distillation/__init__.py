"""Distillation from teachers trained on noisy labels.

`stages` trains a teacher and then its student; `teachers` loads a finished run as a frozen teacher.
"""
