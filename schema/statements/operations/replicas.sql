-- name: newest_position
-- How far the log of a primary is written; null: it is none.
select case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end;

-- name: replica_lag
-- Whether this is a standby, and the seconds since the last transaction that it has: 0 where it has all of its primary's
-- up to a position.
select pg_is_in_recovery() as follows,
       case when pg_is_in_recovery() then
           case when pg_last_wal_replay_lsn() >= :position::pg_lsn then 0
           else greatest(0, extract(epoch from clock_timestamp()
               - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))) end
       end::float as lag;
