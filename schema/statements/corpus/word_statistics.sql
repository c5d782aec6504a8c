-- name: word_statistics_are_stale
-- Whether the number of chunks is another than it was when words were counted, by more than a part of it, or their words
-- are others.
select coalesce(abs(l.chunks - c.chunks) > :max_changed_share * c.chunks or c.measured_at = '-infinity', true)
from (select coalesce(sum(chunk_count), 0) as chunks from ledger where document_id is not null) l left join corpus c on true;

-- name: word_statistics_are_behind
-- Whether the chunks of a small corpus are others than those whose words were counted.
select case when c.chunks > :exact_chunks then false
            when c.newest_chunk is distinct from (select max(id) from chunks) then true
            else c.chunks <> (select count(*) from chunks) end
from corpus c;

-- name: word_statistics_exist
-- Whether they were at all, and are the same, and there are postings where there are to be some.
select exists (select from corpus where measured_at > '-infinity' and (chunks < :min_posted or exists (select from posting_segments)));

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
insert into corpus (chunks, newest_chunk, tokens)
select n.chunks, n.newest_chunk, greatest(1, coalesce((select avg(tokens) from chunks tablesample system (least(100, 100.0 * :sample_chunks / greatest(n.chunks, 1)))),
                                      (select avg(tokens) from (select tokens from chunks limit :first_chunks) s), 1))
from (select count(*) as chunks, max(id) as newest_chunk from chunks) n;

-- name: forget_languages!
-- Before they are counted anew.
delete from languages;

-- name: count_languages!
-- The part of all documents that each language has.
insert into languages
select language, count(*)::double precision / sum(count(*)) over () from documents group by language;

-- name: stale_collections
-- Collections whose words are to be counted: large ones that never were, or have another number of chunks by more than a
-- part of it, and those that are large no longer. None while no key is limited to collections: nobody else needs it.
select k.id
from collections k
left join (select s.collection_id as id, sum(l.chunk_count) as chunks
           from ledger l join sources s on s.id = l.source_id
           where l.document_id is not null group by s.collection_id) n using (id)
left join collection_statistics c on c.collection_id = k.id
where exists (select from api_keys where collections is not null and revoked_at is null)
  and case when coalesce(n.chunks, 0) < :counted_chunks then c.chunks is not null
           else c.chunks is null or abs(n.chunks - c.chunks) > :max_changed_share * c.chunks
                or exists (select from corpus where measured_at = '-infinity') end
order by k.id;

-- name: forget_collection!
-- Before it is counted anew.
delete from collection_statistics where collection_id = :id;

-- name: count_collection!
-- How many chunks a collection has, if it is a large one, and how long they are in the mean.
insert into collection_statistics
select collection_id, count(*), greatest(1, avg(tokens)) from chunks where collection_id = :id
group by collection_id having count(*) >= :counted_chunks;

-- name: count_collection_words!
-- In how many of its chunks the words stand that are common in a collection, from a sample of its chunks, which are chosen
-- by what they say: what other collections have changes nothing.
with sample as materialized (
    select c.lexemes, s.chunks
    from collection_statistics s join chunks c on c.collection_id = s.collection_id
    where s.collection_id = :id
      and (s.chunks <= :counted_sample
           or c.hash < decode(lpad(to_hex((4294967296.0 * :counted_sample / s.chunks)::bigint), 8, '0'), 'hex'))
)
insert into collection_words
select :id, lexeme, count(*) * min(s.chunks)::double precision / (select count(*) from sample)
from sample s cross join lateral unnest(s.lexemes)
group by lexeme
having count(*) * min(s.chunks)::double precision / (select count(*) from sample) >= greatest(:common_chunks, :common_share * min(s.chunks));

-- name: count_collection_languages!
-- How many of its documents are in each language.
insert into collection_languages
select d.collection_id, d.language, count(*)
from documents d join collection_statistics s on s.collection_id = d.collection_id
where d.collection_id = :id
group by d.collection_id, d.language;
