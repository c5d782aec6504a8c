alter table runs drop constraint runs_flow_check;
alter table runs add constraint runs_flow_check check (flow in ('sync', 'reembed', 'index'));

-- What the index of a generation was measured to do, and what it was tuned to; null: as the settings say.
alter table generations add column m integer;
alter table generations add column ef_construction integer;
alter table generations add column ef_search integer;

create table index_measurements (
    id bigint generated always as identity primary key,
    generation_id integer not null references generations on delete cascade,
    m integer not null,
    ef_construction integer not null,
    ef_search integer not null,
    recall double precision not null,
    p50_ms double precision not null,
    vectors bigint not null,
    sampled boolean not null,
    measured_at timestamptz not null default now()
);
create index index_measurements_generation on index_measurements (generation_id, id);
