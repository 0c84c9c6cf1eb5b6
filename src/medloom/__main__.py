"""``python -m medloom`` is the command ``medloom`` of that Python."""

from runpy import run_module

if __name__ == "__main__":
    run_module("medloom.cli.main", run_name="__main__", alter_sys=True)
