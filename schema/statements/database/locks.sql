-- name: limit_lock_wait
-- Until the transaction ends, what waits longer for a lock gives way.
select set_config('lock_timeout', :timeout, true);

-- name: lock_session
-- True when this session now has the lock; it is not waited for.
select pg_try_advisory_lock(:lock_class, :lock_id);

-- name: unlock_session
-- Another may now.
select pg_advisory_unlock(:lock_class, :lock_id);
