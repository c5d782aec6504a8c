"""`POST /v1/embeddings`: texts as vectors of the active space."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from litestar import post

from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.openai import contracts as c
from pgfolio.query_api.service.openai.documented import ASKING
from pgfolio.query_api.service.openai.models import collections_of_model
from pgfolio.query_api.service.operations import HINT
from pgfolio.query_api.service.problems import NotReadyError
from pgfolio.query_api.service.requests import AnyRequest, services
from pgfolio.query_api.service.strict_body import WrongFieldError

if TYPE_CHECKING:
    import numpy as np
    from litestar.params import JSONBody


@post(
    "/v1/embeddings",
    opt=READ,
    status_code=200,
    responses=ASKING,
    summary="Vectors of texts, as OpenAI's API gives them",
)
async def embeddings(request: AnyRequest, data: JSONBody[c.EmbeddingRequest]) -> c.EmbeddingList:
    """By the model of the active space, as it embeds questions."""
    spaces = services(request).retriever.spaces
    active = await spaces.refresh(await spaces.current())
    if active is None:
        raise NotReadyError(f"nothing was synced yet: {HINT}")
    space = active.generation.space
    if data.model not in {space.name, space.model, space.model.rpartition("/")[2]}:
        await collections_of_model(request, data.model)
    if data.dimensions not in {None, space.dimensions}:
        raise WrongFieldError(
            f"dimensions: the documents' vectors have {space.dimensions}, and others cannot be compared with them"
        )
    texts = [data.input] if isinstance(data.input, str) else data.input
    batch = services(request).retriever.settings.embedding.batch_inputs
    made = await unless_client_leaves(
        request, active.embed_all([text.replace("\x00", " ") for text in texts], batch)
    )
    vectors = enumerate(_encoded(vector, data.encoding_format) for vector in made.vectors)
    return c.EmbeddingList(
        data=[c.EmbeddingItem(index=index, embedding=vector) for index, vector in vectors],
        model=space.name,
        usage=c.EmbeddingUsage(made.tokens or 0, made.tokens or 0),
    )


def _encoded(vector: np.ndarray, encoding: str | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
