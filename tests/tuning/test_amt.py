"""SageMaker's own tuner searches the flat part of a space, and what it found is a study as any other."""

from __future__ import annotations

import json

import optuna
import pytest

from medloom import pipeline
from medloom.backends.sagemaker import Place, Scope, Training, check, policy
from medloom.backends.sagemaker.tuner import search_call
from medloom.cli.main import main
from medloom.container.hyperparameters import read_hyperparameters
from medloom.errors import RecipeError, UserError
from medloom.events import EpochEnded, Events
from medloom.files import read_json
from medloom.tuning import Study
from medloom.tuning.amt import ranges_of, search_of, values_of
from medloom.tuning.space import Space
from support.aws import ACCOUNT, BUCKET, IMAGE, REGION, ROLE
from support.aws_rights import as_moto_reads_it, only_with
from support.tuner import Tuner
from tuning.conftest import recipe_text
from tuning.test_sagemaker import Container

LIKE = Training("pictures", IMAGE, {}, {"training": f"s3://{BUCKET}/medloom/data/pictures"})
PLACE = Place(REGION, BUCKET, ROLE)

WIDE = {
    "train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
    "train.optimizer.weight_decay": {"uniform": [0.0, 0.1]},
    "train.epochs": {"integer": [2, 9]},
    "train.batch_size": {"integer": [4, 16], "step": 4},
    "train.schedule.name": {"choices": ["cosine", "constant"]},
    "preprocess.size": {"choices": [[16, 16], [24, 24]]},
}


def test_a_space_becomes_ranges_of_the_tuner_and_its_texts_values_again(recipe_of):
    space = Space.of(recipe_of({key: value for key, value in WIDE.items() if key != "train.schedule.name"}))
    found = ranges_of(space)
    continuous = {one["Name"]: one for one in found["ContinuousParameterRanges"]}
    assert continuous["train.optimizer.lr"] == {
        "Name": "train.optimizer.lr", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic",
    }  # fmt: skip
    assert continuous["train.optimizer.weight_decay"]["ScalingType"] == "Linear"
    (whole,) = found["IntegerParameterRanges"]
    assert (whole["MinValue"], whole["MaxValue"]) == ("2", "9")
    choices = {one["Name"]: one["Values"] for one in found["CategoricalParameterRanges"]}
    assert choices == {"train.batch_size": ["4", "8", "12", "16"], "preprocess.size": ["[16, 16]", "[24, 24]"]}
    tuned = {
        "train.optimizer.lr": "0.0123", "train.optimizer.weight_decay": "0.05", "train.epochs": "3",
        "train.batch_size": "12", "preprocess.size": "[16, 16]",
    }  # fmt: skip
    values = values_of(space, tuned)
    assert values == {
        "train.optimizer.lr": 0.0123, "train.optimizer.weight_decay": 0.05, "train.epochs": 3,
        "train.batch_size": 12, "preprocess.size": [16, 16],
    }  # fmt: skip
    asked = read_hyperparameters(tuned)  # what a container makes of them
    assert pipeline.loaded_recipe(space.recipe, list(asked.settings)) == space.recipe_of(values)
    with pytest.raises(UserError, match=r"train\.batch_size: the tuner chose '5', which this space does not have"):
        values_of(space, {**tuned, "train.batch_size": "5"})


def test_a_search_is_a_request_that_aws_takes(recipe_of, place):
    study = Study(place / ("a-study-with-a-rather-long-name" * 2), recipe_of(tune={"seed": 7}))
    search, sent = search_of(study, LIKE, PLACE, 12, 3, 4)
    call = check(search_call(search, PLACE))
    assert call == search_call(search, PLACE)
    assert len(call.parameters["HyperParameterTuningJobName"]) <= 32
    config = call.parameters["HyperParameterTuningJobConfig"]
    assert config["Strategy"] == "Bayesian"
    assert config["RandomSeed"] == 7
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Minimize", "MetricName": "medloom:best"}
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3}
    assert config["TuningJobCompletionCriteria"]["BestObjectiveNotImproving"] == {
        "MaxNumberOfTrainingJobsNotImproving": 4
    }
    definition = call.parameters["TrainingJobDefinition"]
    assert "run" not in definition["StaticHyperParameters"]  # else all trainings would write into one folder
    assert definition["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert {one["ChannelName"] for one in definition["InputDataConfig"]} == {"recipe", "training"}
    assert {one["Key"] for one in call.parameters["Tags"]} >= {"medloom", "medloom:run"}
    assert "pictures" in sent.text


def test_spot_and_several_machines_are_of_each_training(recipe_of, place):
    like = Training("pictures", IMAGE, {}, LIKE.channels, count=2, spot=True)
    call = check(search_call(search_of(Study(place / "one", recipe_of()), like, PLACE, 3, 1)[0], PLACE))
    definition = call.parameters["TrainingJobDefinition"]
    assert definition["EnableManagedSpotTraining"] is True
    assert definition["ResourceConfig"]["InstanceCount"] == 2
    assert (
        definition["StoppingCondition"]["MaxWaitTimeInSeconds"]
        >= definition["StoppingCondition"]["MaxRuntimeInSeconds"]
    )


MANY = {"train.batch_size": {"integer": [1, 64], "step": 2}}
DEPENDS = {
    "train.optimizer.name": {"choices": ["adam", "sgd"]},
    "train.optimizer.lr": {"log_uniform": [1e-4, 1e-1], "when": {"train.optimizer.name": "adam"}},
}


@pytest.mark.parametrize(
    ("space", "tune", "said"),
    [
        (DEPENDS, {}, "train.optimizer.lr: SageMaker's tuner knows no `when`; leave out --tuner amt"),
        (MANY, {}, "32 values; SageMaker's tuner takes 30 at most; leave out step"),
        (None, {"pruner": "hyperband"}, "SageMaker's tuner has no hyperband; take median or none"),
        (None, {"sampler": "nsga2"}, "SageMaker's tuner has no nsga2; leave out --tuner amt"),
        (None, {"sampler": "grid"}, "the grid has 10 settings, and SageMaker's tuner tries all: --trials 10"),
    ],
)
def test_what_the_tuner_cannot_search_is_refused_with_the_way_out(recipe_of, place, space, tune, said):
    study = Study(place / "one", recipe_of(space, tune=tune))
    with pytest.raises(RecipeError) as caught:
        search_of(study, LIKE, PLACE, 5, 1)
    assert said in str(caught.value)


def test_a_grid_is_tried_as_a_whole(recipe_of, place):
    study = Study(place / "one", recipe_of(tune={"sampler": "grid"}))
    config = check(search_call(search_of(study, LIKE, PLACE, 10, 1)[0], PLACE)).parameters[
        "HyperParameterTuningJobConfig"
    ]
    assert config["Strategy"] == "Grid"
    assert "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]
    assert set(config["ParameterRanges"]) == {"CategoricalParameterRanges"}


class Trial(Container):
    """Trains as a container does that SageMaker's tuner has begun."""

    def work(self, name):
        with self.one:
            job = self.aws.job(name)
            asked = read_hyperparameters(job.hyper_parameters)
            assert asked.is_trial
            place = self.folder / name
            place.mkdir(parents=True)
            (place / "recipe.yaml").write_bytes(self.file(job, "recipe", "recipe.yaml"))
            run, lines = place / name, []
            events = Events([lambda event: lines.append(event) if isinstance(event, EpochEnded) else None])
            with pipeline.started_run(place / "recipe.yaml", run, images=self.images, settings=asked.settings) as (
                begun,
                images,
            ):
                pipeline.prepare(begun, images, workers=1)
                pipeline.train(pipeline.Run.open(run), images=images, baselines="none", events=events)
            best = read_json(run / "training.json")["best_metric"]
            self.aws.writes(f"{job.checkpoint_config['S3Uri']}/{run.name}", run)
            self.aws.prints(name, [f"epoch={one.epoch}; value=1.0; best={best:.6f};" for one in lines])
            self.aws.ends(name, best=best)


CHOSEN = [
    {"train.optimizer.lr": "0.0002", "train.batch_size": "8"},
    {"train.optimizer.lr": "0.02", "train.batch_size": "4"},
    {"train.optimizer.lr": "0.05", "train.batch_size": "8"},
]


@pytest.fixture
def container(aws, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("medloom.backends.sagemaker.tuner._POLL_S", 0.1)
    made = Trial(aws, tmp_path / "opt", pictures)
    aws.on_begin = made.begin
    yield made
    made.join()


@pytest.fixture
def asked(pictures, place):
    (place / "mine.yaml").write_text(recipe_text())
    arguments = ("sagemaker", "tune", "mine.yaml", "--data", str(pictures), "--study", "there", "--image", IMAGE)
    return (*arguments, "--tuner", "amt", "--yes", "--json")


def test_a_search_there_becomes_a_study_with_its_best_model(container, aws, asked, place, monkeypatch, capsys):
    tuner = Tuner(aws, monkeypatch, CHOSEN)
    assert main([*asked, "--trials", "2"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    tuner.join()
    by_job = {name: read_json(place / "opt" / name / name / "training.json")["best_metric"] for name in aws.jobs}
    assert {one["score"] for one in found["trials"]} == set(by_job.values())
    assert found["best"]["score"] == min(by_job.values())
    assert [one["values"]["train.batch_size"] for one in found["trials"]] == [8, 4]
    assert all(one["seconds"] >= 0 for one in found["trials"])
    assert (place / "studies/there/best/model.tar.gz").is_file()
    assert (place / "studies/there/tuning_report.html").is_file()
    assert not (place / "studies/there/best/test_openings.json").exists()
    assert main(["verify", "studies/there/best/model.tar.gz"]) == 0
    assert "2 times 2 h" in captured.err
    assert "trials: 2 done, 0 under way, best" in captured.err
    capsys.readouterr()
    assert main([*asked, "--trials", "2"]) == 0  # nothing is left to do
    assert len(tuner.jobs) == 1
    capsys.readouterr()
    assert main([*asked, "--trials", "3"]) == 0  # goes on from what the first found
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 3
    parents = tuner.requests[tuner.jobs[1]]["warm_start_config"]["ParentHyperParameterTuningJobs"]
    assert parents == [{"HyperParameterTuningJobName": tuner.jobs[0]}]
    storage = optuna.load_study(study_name="there", storage=f"sqlite:///{place / 'studies/there/study.db'}")
    assert len([trial for trial in storage.trials if trial.state.name == "COMPLETE"]) == 3


def test_the_laptop_may_be_closed_while_the_tuner_searches(container, aws, asked, place, monkeypatch, capsys):
    tuner = Tuner(aws, monkeypatch, CHOSEN[:1])
    tuner.hold = True
    assert main([*asked, "--trials", "1", "--detach"]) == 0
    assert "goes on there; the same command follows it" in capsys.readouterr().err
    assert main(["sagemaker", "status", "studies/there", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    listed = main(["sagemaker", "list", "--running", "--json"]), json.loads(capsys.readouterr().out)
    assert [(one["kind"], one["run"]) for one in listed[1]] == [("tuning", "there-search")]
    (name,) = tuner.jobs
    tuner.work(name)
    assert main([*asked, "--trials", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 1
    assert tuner.jobs == [name]
    assert main(["sagemaker", "logs", "studies/there"]) == 2
    assert "is a search with trainings of its own" in capsys.readouterr().err


def test_a_search_is_stopped_from_any_laptop_and_deleted_with_the_rest(aws, asked, monkeypatch, capsys):
    tuner = Tuner(aws, monkeypatch, [])
    tuner.hold = True
    assert main([*asked, "--trials", "1", "--detach"]) == 0
    capsys.readouterr()
    assert main(["sagemaker", "delete", "there-search", "--yes", "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["deleted"]
    assert done["kind"] == "tuning"
    assert tuner.job(tuner.jobs[0]).hyper_parameter_tuning_job_status == "Stopped"
    assert main(["sagemaker", "status", "there-search", "--json"]) == 0  # by its tags
    assert json.loads(capsys.readouterr().out)["state"] == "cancelled"


def test_a_training_that_fails_there_is_a_trial_that_failed(aws, asked, monkeypatch, capsys):
    monkeypatch.setattr("medloom.backends.sagemaker.tuner._POLL_S", 0.1)
    aws.on_begin = lambda name: aws.ends(name, "Failed", "AlgorithmError: out of memory, exit code: 1")
    tuner = Tuner(aws, monkeypatch, CHOSEN[:1])
    assert main([*asked, "--trials", "1"]) == 1
    tuner.join()
    said = capsys.readouterr().err
    assert "1 failed" in said
    assert "no trial came to its end" in said


@pytest.mark.slow
def test_a_search_needs_no_more_than_the_rights_of_tune(container, aws, asked, monkeypatch, capsys):
    tuner = Tuner(aws, monkeypatch, CHOSEN[:1])
    tuner.hold = True
    document = policy("tune", Scope(REGION, ACCOUNT, BUCKET, "medloom", ROLE))
    arguments = [*asked, "--trials", "1"]
    with only_with(aws, monkeypatch, as_moto_reads_it(document)):
        assert main([*arguments, "--detach"]) == 0, capsys.readouterr().err
    tuner.work(tuner.jobs[0])
    with only_with(aws, monkeypatch, as_moto_reads_it(document), "another"):
        assert main(arguments) == 0, capsys.readouterr().err
    for one in document["Statement"]:
        one["Action"] = [action for action in one["Action"] if not action.endswith("CreateHyperParameterTuningJob")]
    document["Statement"] = [one for one in document["Statement"] if one["Action"]]
    capsys.readouterr()
    with only_with(aws, monkeypatch, as_moto_reads_it(document), "third"):
        assert main([*asked, "--trials", "2"]) == 2
    assert "medloom sagemaker policy prints what is needed" in capsys.readouterr().err
