-- What putting vectors under an HNSW index took: each row added to a live index, or each row of a built one. From
-- these the next sync reckons which is cheaper.
create table index_costs (
    id bigint generated always as identity primary key,
    space_id integer not null references spaces on delete cascade,
    way text not null check (way in ('insert', 'build')),
    vectors bigint not null,
    indexed bigint not null,
    seconds double precision not null,
    measured_at timestamptz not null default now()
);
create index index_costs_space on index_costs (space_id, way, id);
