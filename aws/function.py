"""A bento as a Lambda function: what AWS's runtime client imports, and calls for each event.

The service starts here, while AWS waits for it. The memory that the function has decides how large
a picture may be, as on a dyno; an environment variable that is set already is left alone.
"""

import os
from contextlib import suppress
from pathlib import Path

from antbee.artifact import INDEX, read_model
from antbee.command import say
from antbee.errors import ModelError
from antbee.machine import MASTER_MB, MB, ROOM_MB, WORKER_MB, cores, limits_of_worker
from antbee.serving.aws import Function
from antbee.serving.bento_io import app

CORE_MIB = 1769
"""Of memory for which AWS gives a function the time of one core; it shows it two at least."""

memory = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
megabytes = (memory << 20) // MB
if megabytes < MASTER_MB + WORKER_MB + ROOM_MB:  # unless it is chosen, AWS gives 128
    say(f"{memory} MB of memory are too few for many a picture: give the function 512 at least")
bento = Path(os.environ.get("BENTO", "."))
size = 0
# None lies in a working tree; what is wrong with one, the service says.
with suppress(ModelError):
    for index in bento.glob(f"models/*/*/{INDEX}"):
        model = read_model(index.parent)
        size = model.preprocessing.crop
        # To measure which is the fastest here would take a part of every start.
        os.environ.setdefault("ANTBEE_RUNTIME", model.runtime)
shared = max(1, min(cores(), memory // CORE_MIB))
for name, value in limits_of_worker(megabytes, 1, shared, size).items():
    os.environ.setdefault(name, value)
handler = Function(app(str(bento)))
