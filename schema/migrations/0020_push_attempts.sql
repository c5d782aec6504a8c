-- Pushes that are being read: marked before, so that one that ends the program that reads it counts as an attempt, and is
-- not the first again. No row: it was never begun, or the reading of it came to an end.
create table push_attempts (
    push_id bigint primary key references pushes on delete cascade,
    attempts integer not null default 1
);
comment on table push_attempts is
    'Pushes that are being read, or that ended the program that read them; no row: the reading came to an end.';
