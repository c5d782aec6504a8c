-- name: next_claim
-- A claim, and the lock that tells whether its owner is still there.
with next as materialized (select nextval('embedding_claim_ids')::integer as claim)
select claim from next where pg_try_advisory_lock(:lock_class, claim);

-- name: claim_texts
-- Claims those that nobody has claimed. In the order of hashes: two that claim the same never wait for each other in a circle.
insert into embedding_claims (space_id, hash, claim)
select g.space_id, h.hash, :claim
from generations g cross join (select hash from unnest(:hashes::bytea[]) h (hash) order by hash) h
where g.id = :generation
on conflict (space_id, hash) do nothing
returning hash;

-- name: claims_of_texts
-- Whose these are.
select distinct c.claim
from embedding_claims c
where c.hash = any(:hashes) and c.space_id = (select space_id from generations where id = :generation);

-- name: await_claim
-- Waits until its owner has answered it, or is gone.
select pg_advisory_lock_shared(:lock_class, :claim);

-- name: end_await_claim
-- Another may take its number.
select pg_advisory_unlock_shared(:lock_class, :claim);

-- name: forget_claim!
-- It is answered, or nobody is left who would.
delete from embedding_claims where claim = :claim;

-- name: forget_lost_claims!
-- Of sessions that ended.
delete from embedding_claims c
where not exists (select from pg_locks l
                  where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database())
                    and l.classid = :lock_class and l.objid = c.claim::oid and l.objsubid = 2);
