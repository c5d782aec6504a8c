-- name: make_rate_limit!
-- A key that was never used.
insert into rate_limits (name, state) values (:name, :state) on conflict (name) do nothing;

-- name: lock_rate_limit
-- The limiter's numbers, held against other workers, and the time in ms by the one clock that all of them share.
select state, (extract(epoch from clock_timestamp()) * 1000)::bigint
from rate_limits where name = :name for update;

-- name: save_rate_limit!
-- The limiter's numbers after a request.
update rate_limits set state = :state, updated_at = clock_timestamp() where name = :name;

-- name: rate_limit_state
-- The limiter's numbers, for a report.
select state from rate_limits where name = :name;

-- name: report_quota!
-- What the server's headers say of what remains.
insert into rate_limits (name, state, quota, quota_at) values (:name, array[0, 0], :quota, clock_timestamp())
on conflict (name) do update set quota = excluded.quota, quota_at = excluded.quota_at;

-- name: forget_rate_limit!
-- As though the key had never been used.
delete from rate_limits where name = :name;
