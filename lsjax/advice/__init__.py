"""The answer to a person with noisy labels: how noisy, which are wrong, what to train and how good.

`inputs` reads what the person brings into a `problem.Problem`.
"""
