-- name: limit_session
-- No statement of this session runs for longer; 0 is no limit.
select set_config('statement_timeout', :timeout, false);

-- name: limit_transaction
-- No statement of this transaction runs for longer; 0 is no limit.
select set_config('statement_timeout', :timeout, true);

-- name: backend_pid
-- The process that works for this transaction.
select pg_backend_pid();

-- name: database_identity
-- Which database of which server it is, the same on its replicas.
select system_identifier, (select oid from pg_database where datname = current_database()) from pg_control_system();
