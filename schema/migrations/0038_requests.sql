-- What the doors ask of the flows, how far a running sync is, and which removals wait for an approval.
create table requests (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('sync', 'approve', 'forget')),
    source_id integer not null,
    source text not null,
    collection_id integer not null,
    count integer,
    state text not null default 'pending' check (state in ('pending', 'running', 'done', 'failed', 'refused')),
    attempts integer not null default 0,
    requested_by integer,
    asked_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    outcome jsonb,
    reason text not null default ''
);
create unique index requests_waiting on requests (source_id, kind, coalesce(count, 0)) where state = 'pending';
create index requests_open on requests (id) where state in ('pending', 'running');

alter table runs add column source_id integer, add column progress jsonb;
alter table sources add column held jsonb;

comment on table requests is 'What is asked of the flows over HTTP, and what came of it.';
comment on column requests.source_id is 'the source, which may be forgotten meanwhile';
comment on column requests.collection_id is 'of the source when it was asked: who may see it may see the request';
comment on column requests.count is 'of an approval: so many removals at most';
comment on column requests.attempts is 'how often it was taken up: who does it may be killed';
comment on column requests.requested_by is 'the key, null while the API is open';
comment on column requests.outcome is 'the run''s report, as sync --json prints it';
comment on column runs.source_id is 'which a running sync is at';
comment on column runs.progress is 'of that source: files_done, files_total, chunks, started_at';
comment on column sources.held is 'removals that the last sync held back: count, some paths, reason';
