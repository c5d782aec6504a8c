-- name: begin_session
-- How far HNSW looks, for the whole session. Compiling a plan takes longer than any of our plans does.
select set_config('hnsw.ef_search', :ef_search, false), set_config('hnsw.iterative_scan', :iterative, false),
       set_config('jit', 'off', false);
