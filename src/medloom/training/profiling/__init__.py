"""Where the time of a training goes: an account that adds up, the machine beside it, and rules that advise.

::

    phases.py      the parts of a training, and which of Lightning's actions each of them is
    actions.py     Lightning's profiler: tells the stopwatch
    watch.py       the stopwatch: every moment belongs to one part
    clocks.py      the machine's clock, or a GPU's own
    stretches.py   stretches of an epoch or a few, made of what the stopwatch and the machine say
    sampling.py    the machine over time
    operators.py   a few steps under torch's profiler
    account.py     all of it as plain data, which profile.json holds
    rules.py       what the account says in plain words
    profile.py     the callback that keeps the account
"""
