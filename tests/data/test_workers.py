"""Worker processes are forked from a server that has imported what they need."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import forkserver

from medloom.data.workers import expect_workers

PROGRAM = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from medloom.data.workers import expect_workers

expect_workers({workers}, {files})
with ProcessPoolExecutor(1, get_context("forkserver")) as pool:
    asked = "'medloom.data.building' in __import__('sys').modules, __import__('signal').getsignal(2).__name__"
    print(pool.submit(eval, asked).result())
"""


def printed(**values: int) -> str:
    program = PROGRAM.format(**values)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.strip()


def test_what_many_files_take_is_imported_before_a_worker_is_there_and_ctrl_c_stays_as_it_was():
    assert printed(workers=2, files=5000) == "(True, 'default_int_handler')"


def test_nothing_is_started_for_few_files_or_one_worker():
    assert printed(workers=2, files=10).startswith("(False")


def test_the_list_of_a_program_that_uses_such_a_server_itself_stays():
    before = list(forkserver._forkserver._preload_modules)  # that of these tests
    expect_workers(2, 5000)
    assert before == forkserver._forkserver._preload_modules != ["__main__"]
