-- Keys of the API. A key is 256 random bits, so its SHA-256 says nothing about it; the key itself is stored nowhere.
-- collections: the ids of those that may be seen; null: all. A revoked key stays: once there was a key, the API is
-- never open again.
create table api_keys (
    id integer generated always as identity primary key,
    name text not null,
    prefix text not null,
    hash bytea not null unique,
    scope text not null check (scope in ('read', 'write', 'admin')),
    collections integer[],
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz
) with (fillfactor = 90);
create unique index api_keys_name on api_keys (name) where revoked_at is null;

-- When a sync last went through all of a source without a problem.
alter table sources add column synced_at timestamptz;
