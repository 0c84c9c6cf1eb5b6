"""A study whose trials run on SageMaker is the study of this machine: the same scores, resumed after anything."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from medloom import pipeline
from medloom.backends.sagemaker import Account, Place, Training
from medloom.backends.sagemaker.note import Note
from medloom.cli.main import main
from medloom.errors import UserError
from medloom.events import EpochEnded, Events
from medloom.files import read_json
from medloom.tuning import Limits, Study, begun_study
from medloom.tuning.sagemaker import SageMakerTrials, _Scores, work_there
from support.aws import BUCKET, IMAGE, REGION, ROLE
from tuning.conftest import recipe_text


class Container:
    """Trains what a job asks for, here, one job after the other, as a container there does."""

    def __init__(self, aws, folder, images):
        self.aws, self.folder, self.images = aws, folder, images
        self.one, self.threads = threading.Lock(), []

    def begin(self, name):
        thread = threading.Thread(target=self.done, args=(name,))
        self.threads.append(thread)
        thread.start()

    def done(self, name):
        try:
            self.work(name)
        except Exception as error:  # else the study waits for ever
            self.aws.ends(name, "Failed", f"AlgorithmError: {error!r}, exit code: 1")
            raise

    def work(self, name):
        with self.one:
            job = self.aws.job(name)
            place = self.folder / name
            text = self.file(job, "recipe", "recipe.yaml")
            place.mkdir(parents=True)
            (place / "recipe.yaml").write_bytes(text)
            run = place / job.hyper_parameters["run"]
            lines = []
            events = Events([lambda event: lines.append(event) if isinstance(event, EpochEnded) else None])
            with pipeline.started_run(place / "recipe.yaml", run, images=self.images) as (begun, images):
                pipeline.prepare(begun, images, workers=1)
                pipeline.train(pipeline.Run.open(run), images=images, baselines="none", events=events)
            self.aws.writes(f"{job.checkpoint_config['S3Uri']}/{run.name}", run)
            best = read_json(run / "training.json")["best_metric"]
            self.aws.prints(name, [f"epoch={one.epoch}; value=1.0; best={best:.6f};" for one in lines])
            self.aws.ends(name, best=best)

    def file(self, job, channel, name):
        (one,) = [one for one in job.input_data_config if one["ChannelName"] == channel]
        bucket, _, prefix = one["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
        return self.aws.client("s3").get_object(Bucket=bucket, Key=f"{prefix}{name}")["Body"].read()

    def join(self):
        for thread in self.threads:
            thread.join()


@pytest.fixture
def container(aws, tmp_path, pictures):
    made = Container(aws, tmp_path / "opt", pictures)
    aws.on_begin = made.begin
    yield made
    made.join()


TRIALS = ("--trials", "3", "--jobs", "1")


def test_a_study_there_gives_the_scores_of_a_study_here(container, aws, pictures, place, trials_of, capsys):
    here = trials_of(count=1)
    (place / "mine.yaml").write_text(recipe_text())
    arguments = ["sagemaker", "tune", "mine.yaml", "--data", str(pictures), "--study", "there", "--image", IMAGE]
    assert main([*arguments, *TRIALS, "--yes", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert len(aws.jobs) == 3
    assert len(found["trials"]) == 3
    assert "3 times 2 h" in captured.err
    own = read_json(here / "trials/0000/training.json")["best_metric"]
    (first,) = [one for one in found["trials"] if one["number"] == 0]
    assert first["score"] == pytest.approx(own, abs=1e-6)
    assert (place / "studies/there/best/model.tar.gz").is_file()
    assert not (place / "studies/there/best/test_openings.json").exists()
    assert main([*arguments, *TRIALS, "--yes", "--json"]) == 0  # nothing is left to do
    assert len(aws.jobs) == 3


LIKE = Training("pictures", IMAGE, {}, {"training": f"s3://{BUCKET}/medloom/data/pictures"})


def trials_there():
    return SageMakerTrials(Account(REGION), Place(REGION, BUCKET, ROLE), LIKE, lambda: "1")


def test_a_trial_whose_job_goes_on_is_followed_and_not_begun_again(container, aws, pictures, place, recipe_of):
    folder = place / "studies" / "one"
    with begun_study(recipe_of(), folder, images=pictures, events=Events()) as (begun, images):
        trial = begun.trial(0)
        there = trials_there()
        first = there(begun, begun.recipe, trial, images, lambda score, step: False)
        again = trials_there()(begun, begun.recipe, trial, images, lambda score, step: False)
    assert len(aws.jobs) == 1
    assert first.state == again.state == "complete"
    assert first.score == again.score
    assert Note.read(trial).job == aws.jobs[0]


def test_a_study_with_folds_is_refused_there(aws, pictures, place, recipe_of):
    study = replace(Study(place / "one", recipe_of()), folds=3)
    with pytest.raises(UserError, match="--folds: on SageMaker each setting is trained once"):
        trials_there()(study, study.recipe, study.trial(0), pictures, lambda score, step: False)


def test_a_trial_that_is_given_up_stops_its_job(aws, pictures, place, recipe_of):
    def begin(name):
        aws.goes_on(name)
        aws.prints(name, ["epoch=1; value=0.9; best=0.9;", "epoch=2; value=0.8; best=0.8;"])

    aws.on_begin = begin
    with begun_study(recipe_of(), place / "studies" / "one", images=pictures, events=Events()) as (begun, images):
        trials = trials_there()
        trials._fetch = lambda note, folder: None
        outcome = trials(begun, begun.recipe, begun.trial(0), images, lambda score, step: step >= 2)
    assert outcome.state == "pruned"
    assert outcome.score == 0.8
    assert aws.job(aws.jobs[0]).training_job_status == "Stopped"


def test_a_study_that_is_stopped_stops_its_jobs(aws, pictures, place, recipe_of):
    trials = trials_there()

    def begin(name):
        aws.goes_on(name)
        trials.stop()

    aws.on_begin = begin
    trials._fetch = lambda note, folder: None
    with begun_study(recipe_of(), place / "studies" / "one", images=pictures, events=Events()) as (begun, images):
        assert work_there(begun, images, Limits(3), 1, trials, Events()) == "asked to stop"
    assert [aws.job(name).training_job_status for name in aws.jobs] == ["Stopped"]


def test_every_epoch_is_reported_once_whatever_else_is_printed():
    reported = []
    scores = _Scores(lambda score, step: bool(reported.append((step, score))), Events(), "0000")
    for line in ("epoch=1; best=0.5;", "a word", "epoch=1; best=0.5;", "epoch=2; value=0.4; best=0.500000;"):
        scores.heard(line)
    assert reported == [(1, 0.5), (2, 0.5)]
