"""SageMaker's tuner on loopback: moto knows tuning jobs, and begins no trainings, stops none and lists none of theirs.

Here a tuning job begins one training after the other with settings that the test chose, and judges each by the last
value of its objective that the regular expression of the request finds in the lines, as SageMaker does.
"""

from __future__ import annotations

import re
import threading
from itertools import islice

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

__all__ = ["Tuner"]

_ENDED = ("Completed", "Stopped", "Failed")


class Tuner:
    """Does the tuning jobs of an account; ``chosen`` are the tuned settings of one training after the other."""

    def __init__(self, aws, patch, chosen):
        self.aws, self.chosen = aws, iter(chosen)
        self.trials, self.threads, self.requests = {}, [], {}
        self.changed = threading.Event()
        self.hold = False
        original = SageMakerModelBackend.create_hyper_parameter_tuning_job
        tuner = self

        def create(backend, **given):
            arn = original(backend, **given)
            tuner.begin(given["hyper_parameter_tuning_job_name"], given)
            return arn

        patch.setattr(SageMakerModelBackend, "create_hyper_parameter_tuning_job", create)
        for name in ("describe_hyper_parameter_tuning_job", "list_training_jobs_for_hyper_parameter_tuning_job"):
            patch.setattr(SageMakerResponse, name, self.answering(name), raising=False)
        patch.setattr(SageMakerResponse, "stop_hyper_parameter_tuning_job", self.stopping(), raising=False)

    def job(self, name):
        return self.aws.backend.hyper_parameter_tuning_jobs[name]

    @property
    def jobs(self):
        return list(self.aws.backend.hyper_parameter_tuning_jobs)

    def begin(self, name, given):
        self.requests[name], self.trials[name] = given, []
        job = self.job(name)
        job.hyper_parameter_tuning_job_status, job.best_training_job = "InProgress", {}
        job.hyper_parameter_tuning_end_time = None
        if not self.hold:
            thread = threading.Thread(target=self.work, args=(name,))
            self.threads.append(thread)
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def work(self, name):
        given, job = self.requests[name], self.job(name)
        config, most = given["hyper_parameter_tuning_job_config"], None
        most = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
        for number, tuned in enumerate(islice(self.chosen, most), 1):
            self.train(f"{name}-{number:03d}-0a1b2c3d", name, tuned)
            if job.hyper_parameter_tuning_job_status != "InProgress":
                break
        if job.hyper_parameter_tuning_job_status == "InProgress":
            job.hyper_parameter_tuning_job_status = "Completed"
        job.hyper_parameter_tuning_end_time = utcnow()

    def train(self, trial, name, tuned):
        """Begin a training with the definition of the tuning job, and wait for its end."""
        given = self.requests[name]
        definition = given["training_job_definition"]
        objective = given["hyper_parameter_tuning_job_config"]["HyperParameterTuningJobObjective"]["MetricName"]
        own = {"_tuning_objective_metric": objective}
        request = {
            key: value for key, value in definition.items() if key not in ("StaticHyperParameters", "Environment")
        }
        self.aws.client("sagemaker").create_training_job(
            TrainingJobName=trial,
            HyperParameters={**definition["StaticHyperParameters"], **tuned, **own},
            Tags=given["tags"],
            **request,
        )
        self.trials[name].append((trial, tuned))
        while self.aws.job(trial).training_job_status not in _ENDED:
            self.changed.wait(0.05)

    def summary(self, name, trial, tuned):
        job = self.aws.job(trial)
        value = self.objective(name, trial)
        metric = {"MetricName": "medloom:best", "Value": value}
        return {
            "TrainingJobName": trial,
            "TrainingJobArn": job.arn,
            "CreationTime": job.creation_time,
            "TrainingStartTime": getattr(job, "training_start_time", None),
            "TrainingEndTime": getattr(job, "training_end_time", None),
            "TrainingJobStatus": job.training_job_status,
            "TunedHyperParameters": tuned,
            **({"FailureReason": job.failure_reason} if getattr(job, "failure_reason", None) else {}),
            **({} if value is None else {"FinalHyperParameterTuningJobObjectiveMetric": metric}),
        }

    def objective(self, name, trial):
        """The last value in the lines of a training."""
        definitions = self.requests[name]["training_job_definition"]["AlgorithmSpecification"]["MetricDefinitions"]
        (pattern,) = [one["Regex"] for one in definitions if one["Name"] == "medloom:best"]
        lines = self.aws.printed.get(trial, [])
        values = [float(value) for line in lines for value in re.findall(pattern, line)]
        return values[-1] if values else None

    def described(self, name):
        job = self.job(name)
        known = [self.summary(name, *one) for one in self.trials[name]]
        counts = {state: sum(one["TrainingJobStatus"] == state for one in known) for state in (*_ENDED, "InProgress")}
        counters = {**{key: counts[key] for key in ("Completed", "InProgress", "Stopped")}, "RetryableError": 0}
        kind = job.hyper_parameter_tuning_job_config["HyperParameterTuningJobObjective"]["Type"]
        judged = [one for one in known if "FinalHyperParameterTuningJobObjectiveMetric" in one]
        best = (max if kind == "Maximize" else min)(
            judged, key=lambda one: one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], default=None
        )
        found = {**job.describe(), "TrainingJobStatusCounters": {**counters, "NonRetryableError": counts["Failed"]}}
        found.pop("BestTrainingJob", None)
        return {**found, **({} if best is None else {"BestTrainingJob": best})}

    def answering(self, operation):
        tuner = self

        def answer(self):
            name = self._get_param("HyperParameterTuningJobName")
            if name not in tuner.trials:
                self.sagemaker_backend.describe_hyper_parameter_tuning_job(name)  # says that there is none
            if operation.startswith("describe"):
                return ActionResult(tuner.described(name))
            return ActionResult({"TrainingJobSummaries": [tuner.summary(name, *one) for one in tuner.trials[name]]})

        return answer

    def stopping(self):
        tuner = self

        def stop(self):
            name = self._get_param("HyperParameterTuningJobName")
            job = tuner.job(name)
            job.hyper_parameter_tuning_job_status = "Stopped"
            job.hyper_parameter_tuning_end_time = utcnow()
            for trial, _ in tuner.trials[name]:
                if tuner.aws.job(trial).training_job_status == "InProgress":
                    tuner.aws.ends(trial, "Stopped")
            return EmptyResult()

        return stop
