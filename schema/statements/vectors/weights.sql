-- name: sample_embedded
-- Chunks with their vectors, the same ones each time as long as they are there.
select c.content, v.embedding
from (select chunk_id from {vectors} order by hashint8extended(chunk_id, 1), chunk_id limit :count) s
join {vectors} v on v.chunk_id = s.chunk_id
join chunks c on c.id = s.chunk_id
where {norm}(v.embedding) > 0
order by hashint8extended(s.chunk_id, 1), s.chunk_id;

-- name: save_vector_weight!
-- What its similarities count from now on, as measured over so many vectors.
update generations set vector_weight = :weight, weighed_vectors = :vectors where id = :generation;

-- name: weighed_vectors
-- Over how many vectors it was measured last; null: never.
select weighed_vectors from generations where id = :generation;
