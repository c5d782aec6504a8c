-- name: lock_document_writes!
-- Whoever stores documents writes them before reserving ids for their chunks: while this lock is held, no id is reserved
-- that has no chunk yet.
lock table documents in share mode;

-- name: newest_chunk
-- Up to which id chunks can have been stored.
select coalesce(max(id), 0) from chunks;

-- name: list_posting_segments
-- In the order of their chunks, with how many of them are still there.
select s.id, s.first_chunk, s.last_chunk, s.chunks,
       (select count(*) from chunks c where c.id between s.first_chunk and s.last_chunk)
from posting_segments s
order by s.first_chunk;

-- name: next_chunks
-- Where a number of chunks after an id ends, and how many there are.
select coalesce(max(id), 0), count(*)
from (select id from chunks where id > :after and id <= :last order by id limit :limit) c;

-- name: grant_posting_memory
-- For grouping, what a build of an index may take.
select set_config('work_mem', current_setting('maintenance_work_mem'), true);

-- name: drop_posting_lists!
-- Of segments that others take the place of.
delete from posting_lists where segment_id = any(:ids::integer[]);

-- name: drop_posting_segments!
-- The same.
delete from posting_segments where id = any(:ids::integer[]);

-- name: create_posting_segment
-- The chunks between two ids, in their order.
insert into posting_segments (first_chunk, last_chunk, chunks, chunk_ids, tokens)
select :first, :last, count(*), coalesce(string_agg(int8send(id), '' order by id), ''),
       coalesce(string_agg(int4send(tokens), '' order by id), '')
from chunks
where id between :first and :last
having count(*) > 0
returning id;

-- name: create_posting_lists!
-- Their lexemes. One that a name or a prefix term alone brought has no positions.
insert into posting_lists (segment_id, lexeme, df, postings)
select :segment, lexeme, count(*), string_agg(int4send(slot * 256 + least(coalesce(cardinality(positions), 1), 255)), '')
from (select (row_number() over (order by id) - 1)::integer as slot, lexemes
      from chunks where id between :first and :last) c
cross join lateral unnest(c.lexemes)
group by lexeme;

-- name: forget_postings!
-- All of them: the next sync writes them anew.
with lists as (delete from posting_lists) delete from posting_segments;
