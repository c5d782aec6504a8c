-- name: word_statistics_are_stale
-- Whether the number of chunks is another than it was when words were counted, by more than a part of it, or their words
-- are others.
select coalesce(abs(l.chunks - c.chunks) > :max_changed_share * c.chunks or c.measured_at = '-infinity', true)
from (select coalesce(sum(chunk_count), 0) as chunks from ledger where document_id is not null) l left join corpus c on true;

-- name: word_statistics_exist
-- Whether they were at all, and are the same.
select exists (select from corpus where measured_at > '-infinity');

-- name: counted_chunks
-- How many there were when words were counted, if they were.
select chunks from corpus;

-- name: forget_common_words!
-- Before they are counted anew.
delete from common_words;

-- name: count_common_words!
-- The words that `analyze` found to be the most common in its sample.
insert into common_words
select m.lexeme, m.share
from pg_stats s, unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs::float8[]) with ordinality as m (lexeme, share, place)
where s.schemaname = current_schema and s.tablename = 'chunks' and s.attname = 'lexemes' and m.lexeme is not null;

-- name: forget_corpus!
-- Before it is measured anew.
delete from corpus;

-- name: count_corpus!
-- How many chunks there are, and how long they are in the mean, of a sample of about sample_chunks, or
-- of the first ones where it has none.
insert into corpus (chunks, tokens)
select n.chunks, greatest(1, coalesce((select avg(tokens) from chunks tablesample system (least(100, 100.0 * :sample_chunks / greatest(n.chunks, 1)))),
                                      (select avg(tokens) from (select tokens from chunks limit :first_chunks) s), 1))
from (select count(*) as chunks from chunks) n;

-- name: forget_languages!
-- Before they are counted anew.
delete from languages;

-- name: count_languages!
-- The part of all documents that each language has.
insert into languages
select language, count(*)::double precision / sum(count(*)) over () from documents group by language;
