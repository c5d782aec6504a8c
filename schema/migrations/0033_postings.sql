-- An index of words beside the GIN index: for each lexeme the chunks that have it and how often, in a form that is read as
-- a whole. It can be dropped and is built again from chunks.lexemes; until it is, words are searched as before.

create table posting_segments (
    id integer generated always as identity primary key,
    first_chunk bigint not null unique,
    last_chunk bigint not null,
    chunks integer not null,
    chunk_ids bytea not null,
    tokens bytea not null,
    built_at timestamptz not null default clock_timestamp()
);
comment on table posting_segments is
    'Ranges of chunk ids, one after the other, whose postings were written: all chunks that there are up to the last one''s end. A segment never changes.';
comment on column posting_segments.chunk_ids is '8 bytes each; the place here is the slot in postings';
comment on column posting_segments.tokens is 'of the same chunks, 4 bytes each';

create table posting_lists (
    segment_id integer not null,
    lexeme text collate "C" not null,
    df integer not null,
    postings bytea not null,
    primary key (segment_id, lexeme)
);
alter table posting_lists alter column postings set storage external;
comment on table posting_lists is
    'The chunks of a segment that have a lexeme. Of a segment that is no longer there: nothing.';
comment on column posting_lists.df is 'how many';
comment on column posting_lists.postings is '4 bytes each: slot * 256 + how often it stands there, 255 at most';
