-- name: page_of_texts
-- The next chunks in the order of their texts' hashes.
select id, hash from chunks where hash > :after order by hash limit :limit;

-- name: sample_of_texts
-- Some chunks of all: hashes have no order but their own.
select c.id, c.collection_id, c.content, c.heading, d.title, c.hash, c.tokens
from (select id from chunks order by hash limit :limit) s
join chunks c on c.id = s.id
join documents d on d.id = c.document_id;

-- name: texts_without_vector
-- Those of these chunks that lack a vector, with their text.
select c.id, c.collection_id, c.content, c.heading, d.title, c.hash, c.tokens
from chunks c join documents d on d.id = c.document_id
where c.id = any(:ids) and not exists (select from {vectors} v where v.chunk_id = c.id)
order by c.hash;

-- name: count_texts_without_vector
-- How many these are.
select count(distinct c.hash)
from chunks c
where not exists (select from {vectors} v where v.chunk_id = c.id);
