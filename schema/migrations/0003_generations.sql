-- A generation that was active stays for a way back, and what was measured before a switch stays with it.

alter table generations add column retired_at timestamptz;
alter table generations add column measured jsonb not null default '{}';
update generations set retired_at = now() where state = 'retired';
