-- name: limit_lock_wait
-- Until the transaction ends, what waits longer for a lock gives way.
select set_config('lock_timeout', :timeout, true);
