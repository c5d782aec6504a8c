-- name: begin_batch
-- Written before anything is uploaded.
insert into embedding_batches (space_id, run_id, server, usd_per_million_tokens)
values (:space_id, :run_id, :server, :usd_per_million_tokens)
returning id;

-- name: find_batch
-- One.
select b.id, b.key::text as key, b.space_id, b.server, b.state, b.file_id, b.batch_id, b.texts, b.texts_done,
       b.tokens_estimated, b.tokens_billed, b.usd_per_million_tokens, b.attempts, b.made_at, b.handed_in_at
from embedding_batches b where b.id = :id;

-- name: open_batches
-- Of a space, those that are not at their end, in the order in which they were made.
select b.id, b.key::text as key, b.space_id, b.server, b.state, b.file_id, b.batch_id, b.texts, b.texts_done,
       b.tokens_estimated, b.tokens_billed, b.usd_per_million_tokens, b.attempts, b.made_at, b.handed_in_at
from embedding_batches b
where b.space_id = :space_id and b.state in ('preparing', 'uploaded', 'handed_in')
order by b.id;

-- name: claim_batch_texts
-- Those that nobody has handed in, and those that came back undone. In the order of hashes: no two wait in a circle.
insert into embedding_batch_texts as t (space_id, hash, batch, tokens)
select b.space_id, g.hash, b.id, g.tokens
from embedding_batches b
cross join (select * from unnest(:hashes::bytea[], :tokens::integer[]) u (hash, tokens) order by hash) g
where b.id = :id
on conflict (space_id, hash) do update set batch = excluded.batch, tokens = excluded.tokens, state = 'open'
where t.state = 'returned'
returning hash;

-- name: note_uploaded!
-- Its lines are at the server.
update embedding_batches
set state = 'uploaded', file_id = :file_id, tokens_estimated = :tokens,
    texts = (select count(*) from embedding_batch_texts where batch = :id)
where id = :id;

-- name: note_handed_in!
-- It is at work.
update embedding_batches
set state = 'handed_in', batch_id = :batch_id, attempts = attempts + 1, handed_in_at = clock_timestamp(), reason = ''
where id = :id;

-- name: note_queue_full!
-- The server took it and then did not: it waits for a place, and costs nothing until then.
update embedding_batches
set state = 'uploaded', batch_id = null, reason = :reason, queue_tokens = :queue_tokens
where id = :id;

-- name: queue_tokens
-- What a server's queue last was seen to take at once, within a day.
select queue_tokens from embedding_batches
where space_id = :space_id and server = :server and queue_tokens is not null and made_at > now() - interval '1 day'
order by id desc limit 1;

-- name: discard_batch!
-- Of which nothing was ever handed in.
delete from embedding_batches where id = :id;

-- name: store_batch_vectors
-- Vectors that were paid for are kept for whoever needs them, and the bill is noted of texts that had none until now: how
-- many these are, their tokens as billed and by our own count.
with given as (
    select * from unnest(:hashes::bytea[], :embeddings::{type}[], :tokens::integer[]) as t (hash, embedding, tokens)
), done as (
    delete from embedding_batch_texts x using given g
    where x.space_id = :space_id and x.hash = g.hash and x.batch = :id
    returning x.hash, x.tokens as counted, g.tokens as billed
), retained as (
    insert into retained_vectors (space_id, hash, {retained})
    select :space_id, hash, embedding from given order by hash
    on conflict (space_id, hash) do update set retained_at = now()
), summed as (
    select count(*) as texts, coalesce(sum(billed), 0) as billed, coalesce(sum(counted), 0) as counted from done
), noted as (
    update embedding_batches b
    set texts_done = b.texts_done + s.texts, tokens_billed = b.tokens_billed + s.billed
    from summed s where b.id = :id
)
select texts, billed, counted from summed;

-- name: fail_batch_texts!
-- Lines that the server refused: they are asked for directly.
update embedding_batch_texts set state = 'failed' where space_id = :space_id and hash = any(:hashes) and batch = :id;

-- name: end_batch
-- Nothing more comes of it. Texts without an answer are to be handed in again, or asked for directly: how many.
with back as (
    update embedding_batch_texts set state = :texts_state where batch = :id and state = 'open' returning hash
), ended as (
    update embedding_batches set state = :state, reason = :reason, queue_tokens = coalesce(:queue_tokens, queue_tokens),
           ended_at = clock_timestamp()
    where id = :id
)
select count(*) from back;

-- name: waiting_batch_texts
-- Those of the texts that are handed in, or are to be again.
select hash from embedding_batch_texts
where space_id = (select space_id from generations where id = :generation) and hash = any(:hashes) and state <> 'failed';

-- name: forget_batch_texts!
-- Texts that no batch is at work on.
delete from embedding_batch_texts where space_id = :space_id and state = :state;

-- name: batch_totals
-- Of a space: batches that are not at their end, texts handed in, texts that came back undone.
select (select count(*) from embedding_batches
        where space_id = :space_id and state in ('preparing', 'uploaded', 'handed_in')),
       count(*) filter (where state = 'open'), count(*) filter (where state = 'returned')
from embedding_batch_texts where space_id = :space_id;

-- name: batch_cost
-- US dollars that batches which are at their end have cost a starter of runs.
select coalesce(sum(b.tokens_billed * b.usd_per_million_tokens / 1e6), 0)
from embedding_batches b join runs r on r.id = b.run_id
where r.started_by = :started_by and b.state in ('done', 'lost');

-- name: list_batches
-- The newest batches, those that are at work first.
select b.id, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       b.state, b.batch_id, b.texts, b.texts_done, b.tokens_estimated, b.tokens_billed, b.usd_per_million_tokens,
       b.reason, b.made_at, b.handed_in_at, b.ended_at
from embedding_batches b join spaces s on s.id = b.space_id
order by b.state in ('preparing', 'uploaded', 'handed_in') desc, b.id desc
limit :limit;
