"""Diagnosis: rules that watch a training and say in plain words what is wrong, since when, where, and what to try.

::

    sampler    statistics of weights, gradients and activations, every so many steps
    records    what was seen so far: samples of steps, lines of epochs, answers in validation
    rules      the table of rules; each is a pure function of what was seen, in a file for each group of them
    findings   what the rules found, and what is written of it
    watch      joins them to a training
    hooks      a user's own rules
"""
