-- Who keeps a source, with which settings, and since when its place is gone.
alter table sources add column configured boolean not null default false;
alter table sources add column unreachable_since timestamptz;
alter table sources add column processing text not null default '';
alter table sources add column processed_by text not null default '';
