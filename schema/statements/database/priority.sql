-- name: work_alone
-- No other process of the server helps this session.
select set_config('max_parallel_workers_per_gather', '0', false),
       set_config('max_parallel_maintenance_workers', '0', false);
