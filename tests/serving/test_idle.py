"""What only some answers need is made ready while nobody waits."""

import subprocess
import sys
import threading

from medloom.errors import MissingExtraError
from medloom.serving.admission import Gate
from medloom.serving.idle import WhenIdle


def test_it_is_called_once_and_in_another_thread_when_nothing_is_asked():
    called = []
    with WhenIdle(Gate(), lambda: called.append(threading.current_thread()), 0.001) as idle:
        idle._thread.join()
    assert len(called) == 1
    assert called != [threading.current_thread()]


def test_it_waits_as_long_as_something_is_asked_and_ends_with_the_server():
    called, gate, looks = [], Gate(), threading.Semaphore(0)

    class Busy:
        @property
        def inside(self):
            looks.release()
            return gate.inside

    with gate.enter(), WhenIdle(Busy(), lambda: called.append(1), 0.001):
        for _ in range(20):
            looks.acquire()
    assert called == []


def test_what_is_not_installed_is_said_by_the_answer_that_needs_it():
    def missing():
        raise MissingExtraError("highdicom", "serve")

    with WhenIdle(Gate(), missing, 0.001) as idle:
        idle._thread.join()


def test_after_making_ready_the_first_segmentation_reads_no_table_of_the_standard():
    program = (
        "import json; from medloom.inference.forms import dicom; dicom.make_ready(); json.loads = None\n"
        "uid = dicom.make_uid('another')\n"
        "dicom.highdicom().SOPClass(uid, uid, 1, uid, '1.2.840.10008.5.1.4.1.1.66.4', 1, 'SEG', 'Maker')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
