-- Texts that are handed in to a model server's Batch API, which gives their vectors within a day at half the price.
create table embedding_batches (
    id bigint generated always as identity primary key,
    key uuid not null unique default gen_random_uuid(),
    space_id integer not null references spaces(id),
    run_id bigint references runs(id) on delete set null,
    server text not null,
    state text not null default 'preparing' check (state in ('preparing', 'uploaded', 'handed_in', 'done', 'lost')),
    file_id text,
    batch_id text,
    texts integer not null default 0,
    texts_done integer not null default 0,
    tokens_estimated bigint not null default 0,
    tokens_billed bigint not null default 0,
    usd_per_million_tokens double precision not null default 0,
    queue_tokens bigint,
    attempts integer not null default 0,
    reason text not null default '',
    made_at timestamptz not null default now(),
    handed_in_at timestamptz,
    ended_at timestamptz
);
create index embedding_batches_open on embedding_batches (space_id) where state in ('preparing', 'uploaded', 'handed_in');

create table embedding_batch_texts (
    space_id integer not null references spaces(id),
    hash bytea not null,
    batch bigint not null references embedding_batches(id) on delete cascade,
    tokens integer not null,
    state text not null default 'open' check (state in ('open', 'returned', 'failed')),
    primary key (space_id, hash)
);
create index embedding_batch_texts_batch on embedding_batch_texts (batch);

comment on table embedding_batches is 'What was handed in to a model server''s Batch API, and what came of it.';
comment on column embedding_batches.key is 'ours: stands in the batch''s metadata, so that one is found whose id was not noted';
comment on column embedding_batches.server is 'which server and key it was handed in with';
comment on column embedding_batches.state is 'uploaded: waits until the server''s queue takes it; done: its answers are stored; lost: given up';
comment on column embedding_batches.file_id is 'at the server, of its lines';
comment on column embedding_batches.batch_id is 'at the server';
comment on column embedding_batches.tokens_estimated is 'what it was expected to be billed as';
comment on column embedding_batches.usd_per_million_tokens is 'already halved';
comment on column embedding_batches.queue_tokens is 'where the server''s queue refused it: how many it takes at once';
comment on column embedding_batches.attempts is 'how often it was handed in';
comment on table embedding_batch_texts is 'Texts that are handed in, until their vector is stored: nobody else pays for them.';
comment on column embedding_batch_texts.hash is 'of the text as embedded; with the space it is the line''s custom_id';
comment on column embedding_batch_texts.tokens is 'by our own count';
comment on column embedding_batch_texts.state is 'returned: not answered in time, to be handed in again; failed: to be asked for directly';
