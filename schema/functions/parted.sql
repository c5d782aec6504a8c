-- The parts of names as words: an underscore or a slash ends a word as a space does. PostgreSQL's own parser takes
-- flow.serve and pg_hba.conf for one word each, which neither of their parts finds. Of folded, spaced text.
create or replace function parted(body text) returns text language sql immutable strict parallel safe
return replace(replace(replace(replace(replace(replace(replace(
    body, '_', ' '), '.', ' '), '/', ' '), '-', ' '), ':', ' '), '@', ' '), '#', ' ');
