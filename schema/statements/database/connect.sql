-- name: limit_session
-- No statement of this session runs for longer; 0 is no limit.
select set_config('statement_timeout', :timeout, false);
