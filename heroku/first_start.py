"""Starts the service once and asks it something, while the image is built.

What does not start fails here rather than on the dyno, and Python leaves the bytecode of all that
is imported, which it cannot write later: `python first_start.py BENTO`.
"""

import sys

import awslambdaric.__main__ as runtime_client
import prometheus_client.multiprocess
from starlette.testclient import TestClient

import worker
from antbee.serving import aws
from antbee.serving.bento_io import app
from smoke import PICTURE

IMPORTED_LATER = (worker, aws, runtime_client, prometheus_client.multiprocess)

with TestClient(app(sys.argv[1])) as client:
    print(client.post("/predict", content=PICTURE).raise_for_status().text)
