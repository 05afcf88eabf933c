"""The CloudFormation templates: AWS's schemas, rules of security, and our own settings."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from antbee.serving.settings import read_settings
from tests.aws.templates import (
    BEANSTALK,
    ENVIRONMENT,
    EVERYTHING,
    KEYS,
    LAMBDA,
    load,
    of_type,
    options,
    resolve,
    server_environment,
)
from tests.conftest import REPOSITORY, tool

TEMPLATES: Final = [LAMBDA, BEANSTALK]
OPTIONS: Final = yaml.safe_load(Path(__file__).with_name("options.yaml").read_text())
each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def test_lint_finds_nothing() -> None:
    """CloudFormation's linter finds nothing, not even what it only mentions."""
    run = subprocess.run(
        [tool("cfn-lint"), "--include-checks", "I", "--template", *TEMPLATES],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.slow
def test_rules_of_security_hold(tmp_path: Path) -> None:
    """Each of checkov's rules holds, whatever is asked for, or is waived for a reason."""
    for path in TEMPLATES:
        text = path.read_text()
        for name, value in EVERYTHING[path].items():  # rules ask for what the defaults leave in
            text = re.sub(
                rf"(\n  {name}:\n(?:    .*\n)*?    Default: ).*", rf"\g<1>'{value}'", text
            )
        (tmp_path / path.name).write_text(text)
    command = [tool("checkov"), "--framework", "cloudformation", "--skip-download", "--compact"]
    run = subprocess.run(
        [*command, "--output", "json", "--directory", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    results = json.loads(run.stdout)["results"]
    texts = "".join(path.read_text() for path in TEMPLATES)
    waived = re.findall(r"- id: (CKV_\w+)\n +comment: \S.{20,}", texts)

    assert [one["check_id"] for one in results["failed_checks"]] == []
    assert sorted(one["check_id"] for one in results["skipped_checks"]) == sorted(waived)
    assert len(results["passed_checks"]) > 10


@pytest.mark.parametrize("keys", [{}, KEYS], ids=["open", "with keys"])
@each_template
def test_server_takes_its_environment(path: Path, keys: dict[str, str]) -> None:
    """What a template sets for the server is what the server's own settings take."""
    environment = server_environment(resolve(path, **keys))
    settings = read_settings(environment)

    assert ",".join(settings.api_key) == keys.get("ApiKey", "")
    assert settings.log == "json"
    assert "ANTBEE_TIMEOUT" in environment


@each_template
def test_no_secret(path: Path) -> None:
    """The key is asked for, is not shown again, and has no value that somebody could forget."""
    template = load(path)
    (secret,) = [one for one in template["Parameters"].values() if one.get("NoEcho")]

    assert secret["Default"] == ""
    assert "ANTBEE_API_KEY" not in server_environment(resolve(path))


def test_function_url_has_both_permissions() -> None:
    """Whoever calls the address may do so, and may run the function, if by the address alone."""
    permissions = of_type(resolve(LAMBDA), "AWS::Lambda::Permission")
    (url,) = of_type(resolve(LAMBDA), "AWS::Lambda::Url")
    rest = {"FunctionName": url["TargetFunctionArn"], "Principal": "*"}

    assert permissions == [
        {**rest, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": url["AuthType"]},
        {**rest, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    ]


def test_http_api_is_there_if_asked_for() -> None:
    """API Gateway hands on every path as a function URL does, and may run the function."""
    kinds = {one["Type"] for one in resolve(LAMBDA).values()}
    resources = resolve(LAMBDA, HttpApi="yes")
    (integration,) = of_type(resources, "AWS::ApiGatewayV2::Integration")
    (function,) = of_type(resources, "AWS::Lambda::Function")

    assert not any(kind.startswith("AWS::ApiGatewayV2") for kind in kinds)
    assert integration["PayloadFormatVersion"] == "2.0"
    assert integration["TimeoutInMillis"] >= 1000 * function["Timeout"]
    assert [one["RouteKey"] for one in of_type(resources, "AWS::ApiGatewayV2::Route")] == [
        "$default"
    ]
    assert "apigateway.amazonaws.com" in [
        one["Principal"] for one in of_type(resources, "AWS::Lambda::Permission")
    ]


def test_function() -> None:
    """It runs the image's command on one x86-64 processor, is bounded, and ends late enough."""
    (function,) = of_type(resolve(LAMBDA), "AWS::Lambda::Function")
    environment = function["Environment"]["Variables"]
    (logs,) = of_type(resolve(LAMBDA), "AWS::Logs::LogGroup")

    assert function["ImageConfig"] == {
        "Command": ["/bento/src/aws/serve-lambda"],
        "WorkingDirectory": "/bento/src",
    }
    assert function["Architectures"] == ["x86_64"]
    assert function["MemorySize"] == "1769"
    assert function["ReservedConcurrentExecutions"] == "10"
    assert float(environment["ANTBEE_TIMEOUT"]) < function["Timeout"] <= 30
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": "Logs"}}
    assert logs["RetentionInDays"] == "30"


def test_function_without_reserved_concurrency() -> None:
    """A new account's quota leaves nothing to reserve: then nothing is."""
    (function,) = of_type(resolve(LAMBDA, Concurrency="-1"), "AWS::Lambda::Function")

    assert "ReservedConcurrentExecutions" not in function


def test_image_is_named_by_its_digest() -> None:
    """A tag may mean another image tomorrow."""
    pattern = load(LAMBDA)["Parameters"]["Image"]["AllowedPattern"]
    repository = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/antbee"

    assert re.fullmatch(pattern, f"{repository}@sha256:{'0' * 64}")
    assert not re.fullmatch(pattern, f"{repository}:latest")


def test_beanstalk_has_these_options() -> None:
    """Every option that is set is one of Beanstalk's, with a value that it takes."""
    for (space, name), value in options(resolve(BEANSTALK, **EVERYTHING[BEANSTALK])).items():
        if space == ENVIRONMENT:
            continue
        assert name in OPTIONS[space], f"{space} has no option {name}"
        allowed = OPTIONS[space][name]
        assert not allowed or value in allowed, f"{space} {name} cannot be {value}"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("environment LoadBalancerType", "application"),
        ("environment:process:default HealthCheckPath", "/readyz"),
        ("command DeploymentPolicy", "Immutable"),
        ("cloudwatch:logs StreamLogs", "true"),
        ("autoscaling:launchconfiguration DisableIMDSv1", "true"),
    ],
)
def test_beanstalk_is_set_up(option: str, value: str) -> None:
    """What the environment must have."""
    space, _, name = option.partition(" ")
    space = f"aws:{space}" if space.startswith("autoscaling") else f"aws:elasticbeanstalk:{space}"

    assert options(resolve(BEANSTALK))[space, name] == value


@pytest.mark.parametrize(
    ("stack", "fits"),
    [
        ("64bit Amazon Linux 2023 v4.7.2 running Docker", True),
        ("64bit Amazon Linux 2023 v4.7.2 running ECS", False),
        ("64bit Amazon Linux 2023 v4.7.2 running Python 3.13", False),
    ],
)
def test_no_solution_stack_is_frozen(stack: str, *, fits: bool) -> None:
    """The platform is asked for, because AWS retires each after some months."""
    parameter = load(BEANSTALK)["Parameters"]["SolutionStack"]

    assert "Default" not in parameter
    assert bool(re.fullmatch(parameter["AllowedPattern"], stack)) is fits
    assert "running Docker" not in re.sub(r"AllowedPattern: .*", "", BEANSTALK.read_text())


def test_with_a_certificate_there_is_https_alone() -> None:
    """A key does not travel in the clear where it need not."""
    plain = options(resolve(BEANSTALK))
    secure = options(resolve(BEANSTALK, **EVERYTHING[BEANSTALK]))

    assert not any("listener" in space for space, _ in plain)
    assert secure["aws:elbv2:listener:443", "Protocol"] == "HTTPS"
    assert secure["aws:elbv2:listener:default", "ListenerEnabled"] == "false"


def test_ports_agree() -> None:
    """The server listens where Beanstalk's nginx looks for it."""
    bundle: dict[str, Any] = json.loads(
        (REPOSITORY / "aws/beanstalk/Dockerrun.aws.json").read_text()
    )
    port = int(server_environment(resolve(BEANSTALK))["PORT"])

    assert bundle["AWSEBDockerrunVersion"] == "1"
    assert bundle["Ports"] == [{"ContainerPort": port}]
