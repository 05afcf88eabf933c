"""The API's description."""

import base64
import json
from dataclasses import replace

from openapi_spec_validator import validate

from antbee.errors import NO_REQUEST, STATUS
from antbee.images import decode_image
from antbee.serving import assets
from antbee.serving.app import KEYLESS, ROUTES
from antbee.serving.openapi import describe
from antbee.serving.settings import Settings

SETTINGS = Settings(threads=1, queue=1)
DOCUMENT = describe("name:version", ("a", "b"), SETTINGS)


def test_document_is_valid() -> None:
    """The description keeps to the OpenAPI standard."""
    validate(DOCUMENT)


def test_every_route_is_described() -> None:
    """Each route of the service has its entry, with its own method; the page's files have none."""
    expected = {
        (route.path, method.lower())
        for route in (*ROUTES, *assets.routes)
        for method in set(route.methods or ()) - {"HEAD"}
        if not route.path.startswith("/page/")
    }
    described = {(path, name) for path, item in DOCUMENT["paths"].items() for name in item}

    assert described == expected


def test_example_is_a_picture() -> None:
    """The picture to try with is one that is read."""
    sent = DOCUMENT["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert decode_image(base64.b64decode(sent["example"]["data"])).size == (16, 16)


def test_key_is_asked_for_where_it_is_needed() -> None:
    """A server with a key says which routes need it; one without does not mention any."""
    locked = describe("name:version", ("a", "b"), replace(SETTINGS, api_key=("k",)))
    validate(locked)
    needed = {
        path
        for path, item in locked["paths"].items()
        for operation in item.values()
        if operation.get("security", locked["security"])
    }

    assert needed == {"/predict", "/v1/predict", "/explain", "/model", "/docs.json", "/metrics"}
    assert needed.isdisjoint(KEYLESS)
    for path in needed:
        for operation in locked["paths"][path].values():
            assert "401" in operation["responses"]
    assert "security" not in json.dumps(DOCUMENT)


def test_limits_are_the_server_s() -> None:
    """Clients learn how many pictures a request may have, and that addresses are fetched, if so."""
    many, fetching = (
        describe("name:version", ("a", "b"), replace(SETTINGS, **given))
        for given in ({"max_images": 7}, {"allow_urls": True})
    )
    content = many["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    lists = [one["schema"]["properties"]["images"] for one in content.values()]
    validate(fetching)

    assert [one["maxItems"] for one in lists] == [7, 7]
    assert "url" not in json.dumps(DOCUMENT["components"]["schemas"]["Picture"])
    assert "url" in json.dumps(fetching["components"]["schemas"]["Picture"]["oneOf"])


def test_feedback_is_described_where_it_is_taken() -> None:
    """A client finds out whether it may say what is right, and with which labels."""
    taking = describe("name:version", ("a", "b"), replace(SETTINGS, feedback=True))
    validate(taking)
    content = taking["paths"]["/feedback"]["post"]["requestBody"]["content"]
    label = content["application/json"]["schema"]["properties"]["label"]

    assert label["enum"] == ["a", "b", None]
    assert taking["paths"].keys() - DOCUMENT["paths"].keys() == {"/feedback"}


def test_errors_list_every_code() -> None:
    """A client finds every code that it may meet."""
    error = DOCUMENT["components"]["schemas"]["Error"]

    assert list(STATUS) == error["properties"]["error"]["properties"]["code"]["enum"]
    routes = json.dumps(DOCUMENT["paths"])
    assert [code for code in NO_REQUEST if code in routes] == []


def test_labels_are_the_models() -> None:
    """The prediction's labels are those of the model that answers."""
    assert DOCUMENT["components"]["schemas"]["Prediction"]["properties"]["label"]["enum"] == [
        "a",
        "b",
    ]
