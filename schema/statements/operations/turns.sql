-- name: take_turn
-- One that is free.
with turns as materialized (select turn from generate_series(:first::integer, :last::integer) turn order by random())
select turn from turns where pg_try_advisory_lock(:lock_class, turn) limit 1;

-- name: await_turn
-- This one, when whoever has it is done.
select pg_advisory_lock(:lock_class, :lock_id);
