-- What monitoring reads: which processes are alive, what runs cost, without their whole reports, and what is left of a
-- model server's quota.
create table heartbeats (
    process text primary key,
    beat_at timestamptz not null
);
comment on table heartbeats is 'When a process of pgfolio last said that it is alive; several of one kind are one row.';
comment on column heartbeats.process is 'listener: makes documents of pushes; schedule: begins scheduled runs';

alter table runs
    add column tokens bigint generated always as (trunc((report->>'tokens')::numeric)::bigint) stored,
    add column cost_usd double precision generated always as ((report->>'cost_usd')::double precision) stored;
comment on column runs.tokens is 'of its report';
comment on column runs.cost_usd is 'of its report';

alter table rate_limits add column quota jsonb, add column quota_at timestamptz;
comment on column rate_limits.quota is 'what the server''s headers last said: by requests and tokens what remains, and the limit';
