"""The API's description."""

from openapi_spec_validator import validate

from antbee.errors import STATUS
from antbee.serving.openapi import document

DOCUMENT = document("name:version", ("a", "b"))


def test_document_is_valid() -> None:
    """The description keeps to the OpenAPI standard."""
    validate(DOCUMENT)


def test_every_route_is_described() -> None:
    """Each route of the service has its entry."""
    expected = {
        "/predict", "/model", "/ping", "/livez", "/readyz", "/health", "/docs.json", "/metrics"
    }  # fmt: skip

    assert expected == set(DOCUMENT["paths"])


def test_errors_list_every_code() -> None:
    """A client finds every code that it may meet."""
    error = DOCUMENT["components"]["schemas"]["Error"]

    assert list(STATUS) == error["properties"]["error"]["properties"]["code"]["enum"]


def test_labels_are_the_models() -> None:
    """The prediction's labels are those of the model that answers."""
    assert DOCUMENT["components"]["schemas"]["Prediction"]["properties"]["label"]["enum"] == [
        "a",
        "b",
    ]
