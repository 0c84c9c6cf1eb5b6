"""What SageMaker says of an endpoint, as arguments of ``medloom serve``."""

from __future__ import annotations

from medloom.container.__main__ import main
from medloom.container.serving import serve_arguments


def test_an_endpoint_is_served_at_8080_to_everyone_who_reaches_the_container():
    said = serve_arguments({})
    assert said == ["serve", "/opt/ml/model", "--host", "0.0.0.0", "--port", "8080", "--insecure"]


def test_several_models_are_loaded_on_request_into_one_process():
    said = serve_arguments({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "4"})
    assert said[:3] == ["serve", "--model-folder", "/opt/ml/models"]
    assert "--processes" not in said


def test_a_batch_transform_says_how_large_a_body_may_be_and_waits_longer():
    said = serve_arguments({"SAGEMAKER_BATCH": "True", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "50"})
    assert said[-4:] == ["--max-body", "50", "--timeout", "590"]


def test_processes_and_timeouts_of_awss_own_servers_are_ours():
    said = serve_arguments({"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "20"})
    assert said[-4:] == ["--timeout", "20", "--processes", "2"]


def test_a_variable_that_is_no_number_is_said(monkeypatch, capsys):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "http")
    assert main(["serve"]) == 2
    assert "SAGEMAKER_BIND_TO_PORT: expected a whole number; got 'http'" in capsys.readouterr().err


def test_other_words_are_the_medloom_command(capsys):
    assert main(["recipes"]) == 0
    assert "brain-mri" in capsys.readouterr().out
