"""FastAPI, as its documentation writes a picture as a form's file, and as a whole body.

Waiting is done in the loop, work in Starlette's threads, as many as the environment says.

https://fastapi.tiangolo.com/tutorial/request-files/
https://fastapi.tiangolo.com/advanced/using-request-directly/
https://starlette.dev/threadpool/
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio.to_thread
from fastapi import FastAPI, File, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from packed import THREADS, load

packed = load()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Say how many threads there are."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/form")
def form(file: Annotated[bytes, File()]) -> JSONResponse:
    """Classify the picture in the form's field `file`; FastAPI runs this in a thread."""
    return JSONResponse(packed.classify(file))


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Classify the picture that the body is."""
    return JSONResponse(await run_in_threadpool(packed.classify, await request.body()))
