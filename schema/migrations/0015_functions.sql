-- Of each function of functions/*.sql the text that this database has, as the SHA-256 of the file, and the version of
-- the pgfolio that brought it: an older one leaves what a later one defined.
create table functions (
    name text primary key,
    digest bytea not null,
    version integer[] not null,
    defined_at timestamptz not null default now()
);
