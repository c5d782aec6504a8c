-- name: recall_nearest
-- Distances of the vectors nearest to a stored one, through the index; it finds itself too, which is left out.
select n.distance
from (select chunk_id, embedding <=> :vector::{type} as distance
      from {vectors}
      order by {nearest}
      limit {{scan}}) n
where n.chunk_id <> :chunk_id
order by n.distance
limit {{limit}};

-- name: recall_exact
-- The same with every vector compared: the added zero keeps the index out.
select (embedding <=> :vector::{type}) + 0 as distance
from {vectors}
where chunk_id <> :chunk_id
order by distance
limit {{limit}};
