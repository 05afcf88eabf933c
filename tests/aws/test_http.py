"""The tests of the service over HTTP, asked of it as a Lambda function."""

from typing import Final

import pytest

from tests import test_clients, test_service, test_service_limits, test_service_requests
from tests.conftest import Server

pytestmark = pytest.mark.slow

LEFT_OUT: Final = {
    "test_the_documents_have_programs",  # asks no server
    "test_lengths_that_are_none",  # AWS reads HTTP itself
    "test_overload_and_timeout",  # a function answers one request at a time
    "test_burst_loses_no_request",  # likewise
    "test_client_that_leaves_makes_room",  # nor does it hear of that
}
for module in (test_service, test_service_requests, test_service_limits, test_clients):
    globals().update(
        {
            name: found
            for name, found in vars(module).items()
            if name == "folder" or (name.startswith("test_") and name not in LEFT_OUT)
        }
    )


@pytest.fixture
def either(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the function, to which two kinds of requests do not come as they were sent."""
    monkeypatch.delitem(test_service_requests.CASES, "huge length")  # AWS refuses it itself
    monkeypatch.delitem(test_service_requests.CASES, "JSON in UTF-16")  # and takes this for UTF-8
    return server
