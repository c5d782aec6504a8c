-- name: begin_session
-- How far HNSW looks, for the whole session. Compiling a plan takes longer than any of our plans does.
select set_config('hnsw.ef_search', :ef_search, false), set_config('hnsw.iterative_scan', :iterative, false),
       set_config('jit', 'off', false);

-- name: begin_pooled
-- The same of `jit` and of the time limit for one transaction, where sessions are shared with others.
select set_config('jit', 'off', true), set_config('statement_timeout', :timeout, true);
