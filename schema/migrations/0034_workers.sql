-- Several processes, maybe of several machines, store the batches of one run.
--
-- Whoever becomes the owner of a source raises its fence: who stores proves that it still is the one that his run was given.
alter table sources add column fence bigint not null default 0;

-- Texts that somebody is paying for just now. Whoever claims has the advisory lock of his claim: it ends with his session.
-- Not logged: after a crash nobody is.
create unlogged table embedding_claims (
    space_id integer not null references spaces(id),
    hash bytea not null,
    claim integer not null,
    primary key (space_id, hash)
);
create index embedding_claims_claim on embedding_claims (claim);
create sequence embedding_claim_ids as integer cycle;

-- What a run with a limited cost has spent, and what its requests under way may cost.
create table budgets (
    run_id bigint primary key references runs(id) on delete cascade,
    tokens bigint not null default 0,
    billed_per_counted double precision not null default 1,
    learned boolean not null default false
);
create table budget_reservations (
    id bigint generated always as identity primary key,
    run_id bigint not null references budgets(run_id) on delete cascade,
    tokens bigint not null,
    backend integer not null,
    backend_start timestamptz not null
);
create index budget_reservations_run on budget_reservations (run_id);

comment on column sources.fence is 'raised by each owner: who stores proves that it is still his';
comment on table embedding_claims is 'Texts that somebody is paying for just now.';
comment on column embedding_claims.hash is 'of the text as embedded';
comment on column embedding_claims.claim is 'the advisory lock that its owner''s session has';
comment on table budgets is 'What a run whose cost is limited has spent.';
comment on column budgets.billed_per_counted is 'tokens that the server bills for one that we count';
comment on column budgets.learned is 'whether a bill has told that';
comment on table budget_reservations is 'What requests under way may cost; of a session that ended it counts as spent.';
