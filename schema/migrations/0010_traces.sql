-- How each answer was found, kept for a time. permitted: the collections that whoever asked may see; null: all.
create table traces (
    id text primary key,
    asked_at timestamptz not null,
    kind text not null,
    key_id integer,
    permitted integer[],
    record jsonb not null
);
create index traces_asked on traces (asked_at);
