-- name: read_terms
-- All that a question's ranking begins with, in one round trip. In all rows the same: the nearest chunks; the corpus; the
-- segments in the order of their chunks, and how many chunks came since, up to one more than a limit; the documents that the whole question is a name of,
-- as in rank_words. In each row a lexeme of the question: the segments that have it, in how many of their chunks, its postings
-- there as far as they are short, and the documents of that name.
with vector_arm as materialized (
    {{vector_arm}}
), segments as materialized (
    select id, built_at, chunks, last_chunk from posting_segments order by first_chunk
), state as materialized (
    select (select array_agg(chunk_id) from vector_arm) as vector_arm, c.chunks, c.tokens, s.ids, s.built, s.sizes, s.last,
           (select count(*) from (select from chunks where id > s.last limit :max_unposted + 1) u) as unposted
    from corpus c
    cross join (select array_agg(id) as ids, array_agg(extract(epoch from built_at)::double precision) as built,
                       array_agg(chunks) as sizes, max(last_chunk) as last
                from segments) s
), named as materialized (
    select array_agg(d.id) as named
    from (select left(lower(normalize(btrim(:query, E' \t\n"'), NFKC)), {{name_letters}}) as question_name) q
    cross join unnest(case when strpos(question_name, ' ') > 0 then array[' ', '_', '-'] else array[' '] end) space
    cross join lateral (
        select id from documents d where d.names @@ word_query(replace(question_name, ' ', space)) limit {{named_documents}}) d
    where length(question_name) > 1 and :permitted::integer[] is null
)
select s.*, n.*, t.*
from state s
cross join named n
left join lateral (
    select t.lexeme, t.token, t.prefix_match, t.family, t.stopped, t.exact_match, spaced(t.lexeme) = ' ' as unspaced,
           case when t.exact_match
                then array(select d.id from documents d where d.names @@ t.word limit {{named_documents}}) end as named,
           p.segments, p.dfs, p.postings
    from question_words(:query, null::integer[]) t
    cross join lateral (
        select array_agg(l.segment_id) as segments, array_agg(l.df) as dfs,
               string_agg(case when l.df <= :short then l.postings end, '') as postings
        from segments
        cross join lateral (
            select * from posting_lists l where l.segment_id = segments.id and l.lexeme = t.lexeme offset 0) l) p) t on true;

-- name: read_posting_lists
-- Whole postings: of each segment and lexeme given.
select l.segment_id, l.lexeme, l.postings
from unnest(:segments::integer[], :lexemes::text[]) a (segment_id, lexeme)
cross join lateral (
    select * from posting_lists l where l.segment_id = a.segment_id and l.lexeme = a.lexeme offset 0) l;

-- name: read_segment_chunks
-- The chunks of segments.
select id, chunk_ids, tokens from posting_segments where id = any(:ids::integer[]);

-- name: read_unposted
-- Chunks that came since, with those lexemes that they have of the ones given, and how often.
select c.id, c.tokens, l.lexemes, l.counts
from chunks c
cross join lateral (
    select array_agg(lexeme) as lexemes,
           array_agg(least(coalesce(cardinality(positions), 1), 255)) as counts
    from unnest(c.lexemes) where lexeme = any(:lexemes::text[])) l
where c.id > :last and :permitted::integer[] is null
order by c.id
limit :limit;

-- name: chunks_of
-- The chunks of documents that are left out.
select id from chunks where document_id = any(:documents::bigint[]) and :permitted::integer[] is null;

-- name: place_candidates
-- Candidates and the first chunks of the documents named, as far as they are still there, in the order of paths, each
-- with its similarity.
select c.id, c.document_id,
       coalesce(nullif(1 - (select v.embedding <=> :vector::{type} from {vectors} v where v.chunk_id = c.id limit 1), 'NaN'), 0)
           as similarity
from (select unnest(:ids::bigint[]) as id
      union
      select id from chunks where document_id = any(:named::bigint[]) and ordinal < {{leading_chunks}}) a
join chunks c on c.id = a.id
join documents d on d.id = c.document_id
where :permitted::integer[] is null
order by d.path, d.source_id, c.ordinal;
