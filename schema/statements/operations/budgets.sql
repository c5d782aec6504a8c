-- name: make_budget!
-- Of a run whose cost is limited, when its first request is to be paid for.
insert into budgets (run_id) values (:run_id) on conflict (run_id) do nothing;

-- name: lock_budget
-- What the run has spent, and what tokens of ours are billed as; kept from others until the transaction ends.
select tokens, billed_per_counted, learned from budgets where run_id = :run_id for update;

-- name: reserved_tokens
-- What requests under way may cost, and whether anybody is left who waits for the answer of one.
select coalesce(sum(r.tokens), 0), coalesce(bool_or(a.pid is not null), false)
from budget_reservations r
left join pg_stat_activity a on a.pid = r.backend and a.backend_start = r.backend_start
where r.run_id = :run_id;

-- name: reserve_tokens
-- Sets apart what a request may cost.
insert into budget_reservations (run_id, tokens, backend, backend_start)
select :run_id, :tokens, pid, backend_start from pg_stat_activity where pid = pg_backend_pid()
returning id;

-- name: bill_tokens!
-- A request's bill.
with billed as (delete from budget_reservations where id = :id)
update budgets set tokens = tokens + :tokens, billed_per_counted = :billed_per_counted, learned = learned or :learned
where run_id = :run_id;
