-- name: beat!
-- A process is alive.
insert into heartbeats (process, beat_at) values (:process, clock_timestamp())
on conflict (process) do update set beat_at = excluded.beat_at;

-- name: heartbeat_ages
-- Seconds since each process last said that it is alive.
select process, extract(epoch from clock_timestamp() - beat_at)::float as age from heartbeats order by process;
