-- A move to a better space that goes on in the background: how far it is, and what became of it, so that one that was
-- refused is not begun again for the same content, nor one that somebody went back from.
create table upgrades (
    space_id integer primary key references spaces(id),
    state text not null check (state in ('filling', 'refused', 'failed', 'taken')),
    reason text not null default '',
    tried jsonb not null default '{}',
    chunks_per_second real,
    changed_at timestamptz not null default now()
);

comment on table upgrades is 'Moves to a better space that go on in the background, and what became of them.';
comment on column upgrades.reason is 'of a state that is none to wait for';
comment on column upgrades.tried is 'what was measured, and by which settings, when it was refused';
comment on column upgrades.chunks_per_second is 'that get their vectors, pauses included';
