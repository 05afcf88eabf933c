"""Reads the CloudFormation templates, and says what is in them once their parameters are known."""

from pathlib import Path
from typing import Any, Final

import yaml

from tests.conftest import REPOSITORY

LAMBDA: Final = REPOSITORY / "aws/lambda.yaml"
BEANSTALK: Final = REPOSITORY / "aws/elastic-beanstalk.yaml"
ENVIRONMENT: Final = "aws:elasticbeanstalk:application:environment"
KEYS: Final = {"ApiKey": "old-key,new-key"}
EVERYTHING: Final = {
    LAMBDA: {**KEYS, "HttpApi": "yes"},
    BEANSTALK: {**KEYS, "Certificate": "arn:aws:acm:eu-central-1:123456789012:certificate/x"},
}
"""Parameters with which nothing of a template is left out."""
NO_VALUE: Final = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, each as the function that it is short for."""


def _function(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    given: Any
    if isinstance(node, yaml.SequenceNode):
        given = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.ScalarNode)
        given = loader.construct_scalar(node)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": given}


_Loader.add_multi_constructor("!", _function)


def load(path: Path) -> dict[str, Any]:
    """Read a template as it is."""
    template: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a safe one
    return template


def resolve(path: Path, **parameters: str) -> dict[str, Any]:
    """Return a template's resources, without those and what else its conditions leave out.

    What refers to a parameter has its value; what refers to a resource stays as it is.
    """
    template = load(path)
    values = {
        name: parameters.get(name, str(one.get("Default", f"<{name}>")))
        for name, one in template["Parameters"].items()
    }

    def holds(condition: Any) -> bool:  # noqa: ANN401 - whatever YAML holds
        match condition:
            case {"Fn::Equals": [one, other]}:
                return str(fill(one)) == str(fill(other))
            case {"Fn::Not": [one]}:
                return not holds(one)
            case str(name):
                return holds(template["Conditions"][name])
        raise ValueError(condition)

    def fill(value: Any) -> Any:  # noqa: ANN401 - likewise
        match value:
            case {"Ref": name} if name in values:
                return values[name]
            case {"Fn::If": [condition, one, other]}:
                return fill(one if holds(condition) else other)
            case dict():
                filled = {name: fill(one) for name, one in value.items()}
                return {name: one for name, one in filled.items() if one != NO_VALUE}
            case list():
                return [one for one in map(fill, value) if one != NO_VALUE]
        return value

    resources: dict[str, Any] = fill(
        {
            name: one
            for name, one in template["Resources"].items()
            if "Condition" not in one or holds(one["Condition"])
        }
    )
    return resources


def of_type(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the properties of each resource of a type."""
    return [one["Properties"] for one in resources.values() if one["Type"] == kind]


def options(resources: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the options of a Beanstalk environment, by namespace and name."""
    (environment,) = of_type(resources, "AWS::ElasticBeanstalk::Environment")
    settings = environment["OptionSettings"]
    found = {(one["Namespace"], one["OptionName"]): one["Value"] for one in settings}
    assert len(found) == len(settings), "an option is set twice"
    return found


def server_environment(resources: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables that a template sets for the server."""
    for function in of_type(resources, "AWS::Lambda::Function"):
        return dict(function["Environment"]["Variables"])
    return {name: one for (space, name), one in options(resources).items() if space == ENVIRONMENT}
