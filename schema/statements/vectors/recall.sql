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

-- name: sample_of_sample
-- Questions for the sample: vectors of its own.
select chunk_id, embedding from tuning_sample where {norm}(embedding) > 0 order by random() limit :count;

-- name: sample_nearest
-- As recall_nearest, in the sample.
select n.distance
from (select chunk_id, embedding <=> :vector::{type} as distance
      from tuning_sample
      order by {nearest}
      limit {{scan}}) n
where n.chunk_id <> :chunk_id
order by n.distance
limit {{limit}};

-- name: sample_exact
-- As recall_exact, in the sample.
select (embedding <=> :vector::{type}) + 0 as distance
from tuning_sample
where chunk_id <> :chunk_id
order by distance
limit {{limit}};

-- name: sample_vectors
-- Vectors by chance, to be looked for through the index.
select chunk_id, embedding from {vectors} where {norm}(embedding) > 0 order by random() limit :count;

-- name: force_index
-- Until the end of the transaction: through the index, whatever the planner thinks of it, and looking far.
select set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('hnsw.ef_search', :ef_search, true);
