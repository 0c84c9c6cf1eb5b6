"""The network of a piece: whatever a file asks of its runtime, the answer is its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from medloom.serving.batch.rounds import Network, Piece, Seat


class Telling:
    """Answers the mean of each image, of each of two networks, and its first pixel as features; keeps its batches."""

    name = "telling"

    def __init__(self):
        self.batches = []

    def run(self, batch_nchw, table_nf=None):
        self.batches.append(batch_nchw[:, 0, 0, 0].tolist())
        return batch_nchw.mean(axis=(1, 2, 3))[:, None] + (0 if table_nf is None else table_nf)

    def members(self, batch_nchw, table_nf=None):
        return np.stack([self.run(batch_nchw), -self.run(batch_nchw)])

    def run_with_features(self, batch_nchw, table_nf=None):
        return self.run(batch_nchw, table_nf), batch_nchw[:, 0, 0, :2]


def asked(runtime, files, batch_size, questions):
    """What each file is answered that puts these questions to its seat."""
    found = {}
    with Network(runtime, batch_size) as network:
        piece = Piece(network, files)

        def work(number):
            seat = Seat(piece, number, runtime)
            found[number] = [ask(seat, np.full((1, 1, 2, 2), number, np.float32)) for ask in questions(number)]
            piece.leave()

        threads = [threading.Thread(target=work, args=(number,)) for number in reversed(range(files))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def test_each_file_has_its_own_answer_members_and_features():
    runtime = Telling()
    found = asked(
        runtime,
        5,
        3,
        lambda number: [
            lambda seat, image: seat.run(image, np.full((1, 1), 10.0, np.float32)),
            lambda seat, image: seat.members(image),
            lambda seat, image: seat.run_with_features(image),
        ],
    )
    for number, (answer, members, (again, features)) in found.items():
        assert (answer.tolist(), again.tolist()) == ([[10.0 + number]], [[number]])
        assert members.tolist() == [[[number]], [[-number]]]
        assert features.tolist() == [[number, number]]
    assert runtime.batches[:2] == [[0, 1, 2], [3, 4]]


def test_a_file_that_asks_more_often_is_not_waited_for_and_waits_for_none():
    runtime = Telling()
    found = asked(runtime, 3, 8, lambda number: [lambda seat, image: seat.run(image)] * (3 * number))
    assert {number: len(answers) for number, answers in found.items()} == {0: 0, 1: 3, 2: 6}
    assert runtime.batches == [[1, 2]] * 3 + [[2]] * 3


def test_images_of_different_sizes_are_different_batches():
    runtime = Telling()
    wide = np.full((1, 1, 2, 3), 7, np.float32)
    asked(runtime, 4, 8, lambda number: [lambda seat, image: seat.run(wide if number % 2 else image)])
    assert runtime.batches == [[0, 2], [7, 7]]


def test_a_seat_can_no_more_than_the_runtime():
    class Plain:
        name = "plain"

        def run(self, batch_nchw, table_nf=None):
            return batch_nchw

    seat = Seat(Piece(Network(Plain(), 1), 1), 0, Plain())
    assert not hasattr(seat, "members")
    assert not hasattr(seat, "run_with_features")


def test_an_error_of_the_network_reaches_each_file_that_asked():
    class Broken:
        name = "broken"

        def run(self, batch_nchw, table_nf=None):
            raise ValueError("no")

    def caught(seat, image):
        try:
            return seat.run(image)
        except ValueError as error:
            return str(error)

    assert asked(Broken(), 3, 8, lambda number: [caught]) == {0: ["no"], 1: ["no"], 2: ["no"]}


def test_several_calls_at_a_time_give_each_file_its_own_answer():
    runtime, found = Telling(), {}
    with Network(runtime, 2, calls=3) as network:
        pieces = [Piece(network, 2) for _ in range(20)]

        def work(number):
            piece, seat = divmod(number, 2)
            found[number] = Seat(pieces[piece], seat, runtime).run(np.full((1, 1, 2, 2), number, np.float32)).item()
            pieces[piece].leave()

        with ThreadPoolExecutor(40) as threads:
            list(threads.map(work, range(40)))
    assert found == {number: number for number in range(40)}
    assert sorted(runtime.batches) == [[2 * piece, 2 * piece + 1] for piece in range(20)]
